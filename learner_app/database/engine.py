"""The engine that Piccolo's queries, the migrations and the admin all run on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import asyncpg
from piccolo.engine import PostgresEngine

from learner_app.database.transaction import Transaction
from learner_app.errors import (
    DatabaseNotConfigured,
    DatabaseUnavailable,
    PoolExhausted,
    SettingsError,
)
from learner_app.settings import Settings, find_database_url, load_settings

log = logging.getLogger(__name__)

APPLICATION_NAME = "learner_app"


class DatabaseEngine(PostgresEngine):
    """Piccolo's PostgreSQL engine with a bounded pool and an acquire timeout.

    Building it connects to nothing and reads no setting; both happen at the first use, so that
    importing ``piccolo_conf`` never fails or blocks.
    """

    def __init__(
        self,
        url: str | None = None,
        exits_without_database: bool = False,
    ) -> None:
        """
        Args:
            url: where to connect; found through the settings when left out.
            exits_without_database: end the program with one line instead of a SettingsError,
                for commands whose runner would bury the line.
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
                raise self._settled(error) from None
        return self._settings

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of ``asyncpg.connect``."""
        return {
            "dsn": self._find_url(),
            "timeout": self.settings.db_connect_timeout,
            "server_settings": {"application_name": APPLICATION_NAME},
        }

    @config.setter
    def config(self, value: dict[str, Any]) -> None:
        """Piccolo's constructor sets it; ours is always derived."""

    def _find_url(self) -> str:
        try:
            return self.url or find_database_url(self.settings)
        except SettingsError as error:
            raise self._settled(error) from None

    def _settled(self, error: SettingsError) -> BaseException:
        return SystemExit(str(error)) if self._exits else error

    async def start_connection_pool(self, **kwargs: Any) -> None:
        """Open the pool; when the database is away it opens empty and connects on demand."""
        if self.pool is not None:
            return
        options = {**self.config, "max_size": self.settings.db_pool_max, **kwargs}
        try:
            self.pool = await asyncpg.create_pool(**options, min_size=self.settings.db_pool_min)
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            log.warning(
                "database not reachable yet (%s), starting without it", type(error).__name__
            )
            self.pool = await asyncpg.create_pool(**options, min_size=0)

    async def close_connection_pool(self) -> None:
        """Close the pool; connections still in use after 5 seconds are cut."""
        pool, self.pool = self.pool, None
        if pool is None:
            return
        try:
            async with asyncio.timeout(5):
                await pool.close()
        except TimeoutError:
            pool.terminate()

    async def get_new_connection(self) -> asyncpg.Connection[Any]:
        """A connection outside the pool.

        Raises:
            SettingsError: no database is configured, or the URL cannot be read.
            DatabaseUnavailable: the server does not answer.
        """
        connection: asyncpg.Connection[Any]
        connection = await self._connecting(asyncpg.connect(**self.config))
        return connection

    async def take_connection(self) -> asyncpg.Connection[Any]:
        """A connection for exclusive use, from the pool where there is one.

        Raises:
            PoolExhausted: none became free within DB_ACQUIRE_TIMEOUT.
        """
        if self.pool is None:
            return await self.get_new_connection()
        seconds = self.settings.db_acquire_timeout
        try:
            async with asyncio.timeout(seconds) as limit:
                connection: asyncpg.Connection[Any] = await self._connecting(self.pool.acquire())
        except TimeoutError:
            if not limit.expired():
                raise
            raise PoolExhausted(f"no connection became free within {seconds:g} s") from None
        return connection

    async def give_back(self, connection: Any) -> None:
        """Return what :meth:`take_connection` gave, also when the connection is broken."""
        if self.pool is not None and isinstance(connection, asyncpg.pool.PoolConnectionProxy):
            await self.pool.release(connection)
        else:
            await connection.close()

    async def _connecting(self, attempt: Any) -> Any:
        try:
            return await attempt
        except ValueError as error:
            # asyncpg's text may hold a part of the password
            message = f"DATABASE_URL cannot be read ({type(error).__name__})"
            raise self._settled(SettingsError(message)) from None
        except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            if isinstance(error, TimeoutError) and self.pool is not None:
                raise
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> BaseException:
        reason = getattr(error, "sqlstate", None) or type(error).__name__
        if self.url or self.settings.database_url:
            return DatabaseUnavailable(f"the database cannot be used ({reason})")
        return self._settled(
            DatabaseNotConfigured(
                f"the database of `learner up` does not answer ({reason}): "
                "start it again, or set DATABASE_URL"
            )
        )

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        connection = await self.take_connection()
        try:
            return await connection.fetch(query, *(args or ()))
        finally:
            await self.give_back(connection)

    def transaction(self, allow_nested: bool = True) -> Transaction:
        return Transaction(engine=self, allow_nested=allow_nested)
