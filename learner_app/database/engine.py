"""The engine that Piccolo's queries, the migrations and the admin all run on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import asyncpg
from piccolo.engine import PostgresEngine

from learner_app.database.failures import CONNECT_FAILURES, explain
from learner_app.database.target import Target, find_target, parse_url, verifies
from learner_app.database.transaction import Transaction
from learner_app.errors import LearnerError, PoolExhausted, SettingsError
from learner_app.settings import Settings, load_settings

log = logging.getLogger(__name__)

APPLICATION_NAME = "learner_app"
CLOSE_SECONDS = 5


class DatabaseEngine(PostgresEngine):
    """Piccolo's PostgreSQL engine with a bounded pool and an acquire timeout.

    Building it connects to nothing and reads no setting; both happen at the first use, so that
    importing ``piccolo_conf`` never fails or blocks.
    """

    def __init__(self, url: str | None = None, exits_without_database: bool = False) -> None:
        """
        Args:
            url: where to connect; found through the settings when left out.
            exits_without_database: end the program with one line instead of an error when there
                is no database to talk to, for commands whose runner would bury the line.
        """
        self.url = url
        self._exits = exits_without_database
        self._settings: Settings | None = None
        super().__init__(config={})

    async def check_version(self) -> None:
        """Piccolo asks the server here, from the constructor; we ask nothing."""

    async def prep_database(self) -> None:
        """Piccolo creates extensions here, from the constructor; the schema needs none."""

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            try:
                self._settings = load_settings()
            except SettingsError as error:
                raise self._final(error) from None
        return self._settings

    @property
    def target(self) -> Target:
        """The database that it talks to.

        Raises:
            SettingsError: none is configured, or the setting cannot be understood.
        """
        try:
            return parse_url("url", self.url) if self.url else find_target(self.settings)
        except SettingsError as error:
            raise self._final(error) from None

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of ``asyncpg.connect``."""
        try:
            arguments = self.target.connect_arguments(self.settings)
        except SettingsError as error:
            raise self._final(error) from None
        arguments["server_settings"].setdefault("application_name", APPLICATION_NAME)
        return arguments | {"timeout": self.settings.db_connect_timeout}

    @config.setter
    def config(self, value: dict[str, Any]) -> None:
        """Piccolo's constructor sets it; ours is always derived."""

    async def start_connection_pool(self, **kwargs: Any) -> None:
        """Open the pool; when the database is away it opens empty and connects on demand."""
        if self.pool is not None:
            return
        settings = self.settings
        options = {
            **self.config,
            "max_size": settings.db_pool_max,
            "max_inactive_connection_lifetime": settings.db_pool_idle,
            "command_timeout": settings.db_command_timeout,
            "init": self._prepare_connection,
            **kwargs,
        }
        self._warn_of_unverified_server()
        try:
            self.pool = await asyncpg.create_pool(**options, min_size=settings.db_pool_min)
        except CONNECT_FAILURES as error:
            log.warning("starting without the database: %s", explain(error, self.target))
            self.pool = await asyncpg.create_pool(**options, min_size=0)

    def _warn_of_unverified_server(self) -> None:
        target = self.target
        if not target.is_local and not verifies(self.settings, target):
            log.warning("DB_SSL_VERIFY is false: the server at %s is not verified", target)

    async def close_connection_pool(self) -> None:
        """Close the pool; connections still in use after 5 seconds are cut."""
        pool, self.pool = self.pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def get_new_connection(self) -> asyncpg.Connection[Any]:
        """A connection outside the pool; without a command time-out, for long work.

        Raises:
            SettingsError: no database is configured, or the URL cannot be read.
            DatabaseUnavailable: the server does not answer.
            DatabaseRefused: it does not let us in, or is not to be trusted.
        """
        try:
            connection: asyncpg.Connection[Any] = await asyncpg.connect(**self.config)
        except CONNECT_FAILURES as error:
            raise self._final(explain(error, self.target)) from error
        await self._prepare_connection(connection)
        return connection

    async def take_connection(self) -> Any:
        """An asyncpg connection for exclusive use, from the pool where there is one.

        Raises:
            PoolExhausted: none became free within DB_ACQUIRE_TIMEOUT.
            DatabaseUnavailable, DatabaseRefused: the pool had to connect and could not.
        """
        if self.pool is None:
            return await self.get_new_connection()
        seconds = self.settings.db_acquire_timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                return await self.pool.acquire()
        except TimeoutError as error:
            if limit.expired():
                raise PoolExhausted(f"no connection became free within {seconds:g} s") from None
            raise explain(error, self.target) from error
        except CONNECT_FAILURES as error:
            raise explain(error, self.target) from error

    async def give_back(self, connection: Any) -> None:
        """Return what :meth:`take_connection` gave, also when the connection is broken."""
        if self.pool is not None and isinstance(connection, asyncpg.pool.PoolConnectionProxy):
            await self.pool.release(connection)
        else:
            await connection.close()

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        connection = await self.take_connection()
        try:
            return await connection.fetch(query, *(args or ()))
        finally:
            await self.give_back(connection)

    async def _run_in_new_connection(self, query: str, args: Sequence[Any] | None = None) -> Any:
        """Piccolo's forgets to close the connection of a cancelled query."""
        return await self._run_in_pool(query, args)

    def transaction(self, allow_nested: bool = True) -> Transaction:
        return Transaction(engine=self, allow_nested=allow_nested)

    async def _prepare_connection(self, connection: Any) -> None:
        if self.settings.db_echo:
            connection.add_query_logger(_echo)

    def _final(self, error: LearnerError) -> BaseException:
        return SystemExit(str(error)) if self._exits else error


def _in_one_line(record: logging.LogRecord) -> bool:
    """Asyncpg tells of each failed attempt to refill the pool with a traceback."""
    if record.exc_info and record.exc_info[1] is not None:
        record.msg = f"{record.msg} ({type(record.exc_info[1]).__name__})"
        record.exc_info = None
    return True


logging.getLogger("asyncpg.pool").addFilter(_in_one_line)


def _echo(record: Any) -> None:
    """Print a statement as it was sent, without the values bound to it."""
    print(f"-- {record.elapsed * 1000:.1f} ms\n{record.query}", flush=True)
