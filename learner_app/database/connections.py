"""Where connections come from: the settings, the pool, the read replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Self

from piccolo.engine import PostgresEngine

from learner_app.database.connection import Connection
from learner_app.database.connector import Connector
from learner_app.database.dsn import DatabaseUrl, find_database_url, parse_url
from learner_app.database.monitor import Monitor
from learner_app.database.owner import find_owner_url
from learner_app.database.pool import Pool
from learner_app.database.replicas import Replicas, make_replicas
from learner_app.database.statement_log import StatementLog
from learner_app.database.watchdog import Watchdog
from learner_app.errors import (
    DatabaseUnavailable,
    LearnerError,
    PoolNotStarted,
    SettingsError,
    TransactionError,
)
from learner_app.settings import Settings, load_settings

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5
START_SECONDS = 3
"""How long the start waits for a first connection, which the pool goes on trying to open."""

_engine_as_owner: ContextVar[Connections | None] = ContextVar("engine_as_owner", default=None)
"""The engine whose connections are those of the owner role in this context."""


class Connections(PostgresEngine):
    """Piccolo's PostgreSQL engine with a bounded pool and read replicas.

    Building it connects to nothing and reads no setting; both happen at the first use, so that
    importing ``piccolo_conf`` never fails or blocks.
    """

    pool: Pool | None  # type: ignore[assignment]  # Piccolo's is asyncpg's

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str | None = None,
        owner_url: str | None = None,
        needs_pool: bool = True,
        exits_without_database: bool = False,
        connects_as_owner: bool = False,
        log_queries: bool = False,
        log_responses: bool = False,
    ) -> None:
        """
        Args:
            url: where to connect; found through the settings when left out.
            name: that of the read replica; None for the main server.
            owner_url: where the owner role connects, if ``url`` is given; the same if left out.
            needs_pool: refuse statements without a pool, which would connect anew each time;
                False is for commands, which send few.
            exits_without_database: end the program with one line instead of an error when there
                is no database to talk to, for commands whose runner would bury the line.
            connects_as_owner: connect as the owner role always, as in :meth:`as_owner`.
            log_queries: print each statement and its time, without the values bound to it.
            log_responses: print the number of rows and their columns, or the server's tag,
                without values.
        """
        self.url = url
        self.owner_url = owner_url
        self.name = name
        self.needs_pool = needs_pool
        self._exits = exits_without_database
        self._settings: Settings | None = None
        self._nodes: tuple[Settings, Replicas[Any]] | None = None
        self._connects_as_owner = connects_as_owner
        self._connector: Connector | None = None
        self._owner_connector: Connector | None = None
        self._monitor: tuple[Connector, Monitor] | None = None
        self._watch: Watchdog | None = None
        self._statement_log = StatementLog()
        super().__init__(config={}, log_queries=log_queries, log_responses=log_responses)

    async def check_version(self) -> None:
        """Piccolo asks the server here, from the constructor; we ask nothing."""

    async def prep_database(self) -> None:
        """Piccolo creates extensions here, from the constructor; the schema needs none."""

    @property
    def log_queries(self) -> bool:
        """Whether statements are printed; can be set at any time, DB_ECHO sets it at the start."""
        return self._statement_log.queries

    @log_queries.setter
    def log_queries(self, value: bool) -> None:
        self._statement_log.switch(queries=value)

    @property
    def log_responses(self) -> bool:
        """Whether the shape of results is printed; can be set at any time."""
        return self._statement_log.responses

    @log_responses.setter
    def log_responses(self, value: bool) -> None:
        self._statement_log.switch(responses=value)

    @property
    def settings(self) -> Settings:
        if self._settings is None:
            try:
                self._settings = load_settings()
            except SettingsError as error:
                raise self._final(error) from None
        return self._settings

    @property
    def target(self) -> DatabaseUrl:
        """The database that it talks to.

        Raises:
            SettingsError: none is configured, or the setting cannot be understood.
        """
        try:
            return self._owner_target() if self.is_owner else self._application_target()
        except SettingsError as error:
            raise self._final(error) from None

    def _application_target(self) -> DatabaseUrl:
        if self.url is None:
            return find_database_url(self.settings)
        return parse_url(f"DB_REPLICAS, {self.name}" if self.name else "url", self.url)

    def _owner_target(self) -> DatabaseUrl:
        if self.url is None:
            return find_owner_url(self.settings)
        return parse_url("owner_url", self.owner_url or self.url)

    @property
    def is_owner(self) -> bool:
        """True where new connections are those of the owner role, see :meth:`as_owner`."""
        return self._connects_as_owner or _engine_as_owner.get() is self

    @contextmanager
    def as_owner(self) -> Iterator[None]:
        """Connect as the owner role inside the block, without the pool.

        The block covers this task and the tasks that it starts. Where no owner role is
        configured, nothing changes.

        Raises:
            TransactionError: inside a transaction, whose connection is the application's.
            SettingsError: the settings of the owner role are invalid.
        """
        try:
            is_same = self._owner_target() == self._application_target()
        except SettingsError as error:
            raise self._final(error) from None
        if self.is_owner or is_same:
            yield
            return
        if self.transaction_exists():
            raise TransactionError("the owner role is needed: do this outside a transaction")
        token = _engine_as_owner.set(self)
        try:
            yield
        finally:
            _engine_as_owner.reset(token)

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of ``asyncpg.connect``, for Piccolo's ``sql_shell``."""
        return self.target.connect_arguments(self.settings)

    @config.setter
    def config(self, value: dict[str, Any]) -> None:
        """Piccolo's constructor sets it; ours is always derived."""

    @property  # type: ignore[override]  # Piccolo's is an attribute
    def extra_nodes(self) -> Replicas[Any]:
        """The read replicas of DB_REPLICAS by name; ``query.run(node="name")`` reads from one."""
        if self._nodes is None or self._nodes[0] is not self.settings:
            self._nodes = (self.settings, make_replicas(self.settings, self._make_node))
        return self._nodes[1]

    @extra_nodes.setter
    def extra_nodes(self, value: Any) -> None:
        """Piccolo's constructor sets it; ours come from the settings."""

    def _make_node(self, name: str, url: str) -> Self:
        node = type(self)(url, name=name, needs_pool=self.needs_pool)
        node._settings = self.settings.model_copy(update={"db_replicas": None})
        node._statement_log = self._statement_log
        return node

    @property
    def connector(self) -> Connector:
        """What opens connections to the target; the same one while nothing changes."""
        target, settings = self.target, self.settings
        known = self._owner_connector if self.is_owner else self._connector
        if known is None or known.settings is not settings or known.target != target:
            try:
                known = Connector(target, settings)
            except SettingsError as error:
                raise self._final(error) from None
            if self.is_owner:
                self._owner_connector = known
            else:
                self._connector = known
            if settings.db_echo:
                self.log_queries = True
        return known

    async def start_connection_pool(self, **_kwargs: Any) -> None:
        """Open the pool; a database that is away is no error, the pool goes on trying."""
        if self.pool is not None:
            return
        connector = self.connector
        self._warn_of_unverified_server()
        target = connector.target
        self.pool = Pool(
            str(target),
            partial(self._connect_for_pool, connector),
            self.settings,
            needs_primary=connector.wants_primary,
        )
        monitor = Monitor(
            f"{target} (monitor)", connector.connect_for_monitor, self.settings.db_pool_age
        )
        self._monitor = connector, monitor
        self._watch = Watchdog(self.pool, connector, monitor)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._first_connection(self.pool)
                await monitor.attempted.wait()
        except (LearnerError, TimeoutError) as error:
            log.warning("starting without the database: %s", error or "no answer yet")
        for node in self.extra_nodes.values():
            await node.start_connection_pool()

    async def _connect_for_pool(self, connector: Connector) -> Connection:
        connection = await connector.connect_for_pool()
        connection.statement_log = self._statement_log
        return connection

    async def _first_connection(self, pool: Pool) -> None:
        """Wait for a connection, also where the network is slow; raise on a failed attempt."""
        while True:
            try:
                return pool.release(await pool.acquire())
            except DatabaseUnavailable:
                if pool.outage is not None:
                    raise

    @property
    def monitor(self) -> Monitor | None:
        """The pool's monitoring connection; None without a pool for this target and event loop."""
        if self._monitor is None or self.pool is None:
            return None
        connector, monitor = self._monitor
        is_ours = self.pool.loop is asyncio.get_running_loop() and connector is self.connector
        return monitor if is_ours else None

    def _warn_of_unverified_server(self) -> None:
        target = self.target
        if not target.is_local and not target.tls.verifies_server(self.settings):
            log.warning("DB_SSL_VERIFY is false: the server at %s is not verified", target)

    async def close_connection_pool(self) -> None:
        """Close the pool; connections still in use after 5 seconds are cut.

        When it is cancelled, all connections are cut at once, those of the replicas as well.
        """
        pool = self.pool
        if pool is None or pool.is_closing:
            return
        if self._watch is not None:
            self._watch.stop()
        if self._monitor is not None:
            self._monitor[1].close()
            self._monitor = None
        replicas = self._nodes[1].values() if self._nodes else ()
        await asyncio.gather(
            self._close(pool), *(node.close_connection_pool() for node in replicas)
        )

    async def _close(self, pool: Pool) -> None:
        try:
            await pool.close(CLOSE_SECONDS)
        finally:
            self.pool = None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """``async with engine.running()``: with the pool open; for scripts and lifespans."""
        try:
            await self.start_connection_pool()
            yield self
        finally:
            await self.close_connection_pool()

    async def get_new_connection(self, seconds: float | None = None) -> Connection:
        """A connection outside the pool; without any time-out, for long work.

        Raises:
            SettingsError: no database is configured, or the URL cannot be read.
            DatabaseUnavailable: the server does not answer within DB_CONNECT_TIMEOUT, or within
                ``seconds``.
            DatabaseRefused: it does not let us in, or is not to be trusted.
        """
        try:
            seconds = seconds or self.settings.db_connect_timeout
            connection = await self.connector.connect(seconds)
        except LearnerError as error:
            raise self._final(error) from error.__cause__
        connection.statement_log = self._statement_log
        return connection

    async def take_connection(self, *, in_pool: bool = True) -> Connection:
        """A connection for exclusive use, to be given back.

        Raises:
            PoolExhausted: none became free within DB_ACQUIRE_TIMEOUT.
            DatabaseUnavailable, DatabaseRefused: a new one was needed and could not be had.
            PoolNotStarted: there is no pool.
        """
        in_pool = in_pool and not self.is_owner
        if self.pool is not None and in_pool:
            if self.pool.loop is not asyncio.get_running_loop():
                raise PoolNotStarted("the connection pool belongs to another event loop")
            return await self.pool.acquire()
        if in_pool and self.needs_pool:
            raise PoolNotStarted(
                "there is no connection pool: `async with DB.running():` around the program, or "
                "await DB.start_connection_pool() at its start"
            )
        return await self.get_new_connection()

    async def give_back(self, connection: Connection) -> None:
        """Return what :meth:`take_connection` gave, in whatever state it is."""
        if self.pool is not None and connection in self.pool.in_use:
            self.pool.release(connection)
        elif connection.is_closed() or connection.is_busy():
            connection.terminate()
        else:
            await connection.close(timeout=CLOSE_SECONDS)

    def _final(self, error: LearnerError) -> BaseException:
        return SystemExit(str(error)) if self._exits else error
