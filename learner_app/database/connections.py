"""Connections of one engine: target, pool, monitoring connection and reaction to errors."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from learner_app.database.connection import Connection
from learner_app.database.connector import Connector
from learner_app.database.dsn import DatabaseUrl, find_database_url, parse_url
from learner_app.database.error_mapping import translate
from learner_app.database.instrumentation import CheckoutEvent, Observers
from learner_app.database.monitor import Monitor
from learner_app.database.owner import find_owner_url
from learner_app.database.pool import Pool
from learner_app.database.statement_log import StatementLog
from learner_app.database.watchdog import Watchdog
from learner_app.errors import (
    ConnectionLost,
    DatabaseError,
    DatabaseReadOnly,
    DatabaseUnavailable,
    InvalidValue,
    LearnerError,
    PoolNotStarted,
    SchemaChanged,
    SettingsError,
    StatementRefused,
    TransactionError,
)
from learner_app.settings import Settings, load_settings

log = logging.getLogger(__name__)

CLOSE_SECONDS = 5
"""Time limit for closing: for the release of connections in use, and for a single connection."""

START_SECONDS = 3
"""Time that the start waits for a first connection; without one the pool continues to try."""

CLOCK_SECONDS = 0.01
"""Tolerance in comparisons of the time that has passed with a time limit."""

FEATURE_NOT_SUPPORTED = "0A000"
"""SQLSTATE of feature_not_supported."""

_connections_as_owner: ContextVar[Connections | None] = ContextVar(
    "connections_as_owner", default=None
)
"""Connections object whose new connections use the owner role in this context, or None."""


class Connections:
    """Pool, connectors and settings of one engine.

    The constructor neither connects nor reads settings, so that importing ``piccolo_conf`` never
    fails or blocks. Both happen at the first use.
    """

    def __init__(
        self,
        url: str | None,
        *,
        replica_name: str | None,
        owner_url: str | None,
        needs_pool: bool,
    ) -> None:
        """
        Args:
            url: URL of the database; found through the settings if None.
            replica_name: name in DB_REPLICAS; None for the main server.
            owner_url: URL for the owner role if ``url`` is passed; ``url`` if None.
            needs_pool: refuse statements without a pool.
        """
        self.url = url
        self.owner_url = owner_url
        self.replica_name = replica_name
        self.needs_pool = needs_pool
        self.pool: Pool | None = None
        self.statement_log = StatementLog()
        self.observers = Observers()
        self.exits_without_database = False
        """Raise SystemExit instead of errors about settings and failed connections."""
        self.connects_as_owner = False
        """Always connect as the owner role."""
        self._settings: Settings | None = None
        self._connector: Connector | None = None
        self._owner_connector: Connector | None = None
        self._monitor: tuple[Connector, Monitor] | None = None
        """Monitor of the pool, and the connector for whose target it was started."""
        self._watchdog: Watchdog | None = None

    @property
    def settings(self) -> Settings:
        """Settings of the engine, loaded at the first use and again after an assignment of None."""
        if self._settings is None:
            try:
                self._settings = load_settings()
            except SettingsError as error:
                raise self._fatal(error) from None
        return self._settings

    @settings.setter
    def settings(self, settings: Settings | None) -> None:
        self._settings = settings

    @property
    def target(self) -> DatabaseUrl:
        """Database of new connections, with the role of this context.

        Raises:
            SettingsError: no database is configured, or its URL is invalid.
        """
        try:
            return self._owner_target() if self.is_owner else self._application_target()
        except SettingsError as error:
            raise self._fatal(error) from None

    def _application_target(self) -> DatabaseUrl:
        if self.url is None:
            return find_database_url(self.settings)
        name = self.replica_name
        return parse_url(f"DB_REPLICAS, {name}" if name else "url", self.url)

    def _owner_target(self) -> DatabaseUrl:
        if self.url is None:
            return find_owner_url(self.settings)
        return parse_url("owner_url", self.owner_url or self.url)

    @property
    def is_owner(self) -> bool:
        """True if new connections of this context use the owner role."""
        return self.connects_as_owner or _connections_as_owner.get() is self

    @contextmanager
    def as_owner(self, transaction_exists: Callable[[], bool]) -> Iterator[None]:
        """Connect as the owner role inside the block, see ``DatabaseEngine.as_owner``."""
        try:
            is_same = self._owner_target() == self._application_target()
        except SettingsError as error:
            raise self._fatal(error) from None
        if self.is_owner or is_same:
            yield
            return
        if transaction_exists():
            raise TransactionError(
                "the owner role cannot be used inside a transaction: "
                "open the transaction inside `with DB.as_owner():`"
            )
        token = _connections_as_owner.set(self)
        try:
            yield
        finally:
            _connections_as_owner.reset(token)

    @property
    def connector(self) -> Connector:
        """Connector to the target, cached until target or settings change."""
        target, settings = self.target, self.settings
        known = self._owner_connector if self.is_owner else self._connector
        if known is None or known.settings is not settings or known.target != target:
            try:
                known = Connector(target, settings)
            except SettingsError as error:
                raise self._fatal(error) from None
            if self.is_owner:
                self._owner_connector = known
            else:
                self._connector = known
            if settings.db_echo:
                self.statement_log.queries = True
        return known

    @property
    def monitor(self) -> Monitor | None:
        """Monitoring connection of the pool, None without a pool for this target and event loop."""
        if self._monitor is None or self.pool is None:
            return None
        connector, monitor = self._monitor
        is_usable = self.pool.loop is asyncio.get_running_loop() and connector is self.connector
        return monitor if is_usable else None

    async def start_pool(self) -> None:
        """Open the pool, and wait up to START_SECONDS for a first connection.

        An unreachable database is logged and is no error: the pool continues to try to connect.
        """
        connector = self.connector
        self._warn_if_unverified()
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
        self._watchdog = Watchdog(self.pool, connector, monitor)
        try:
            async with asyncio.timeout(START_SECONDS):
                await self._wait_for_connection(self.pool)
                await monitor.attempted.wait()
        except (LearnerError, TimeoutError) as error:
            log.warning("starting without the database: %s", error or "no answer yet")

    async def _connect_for_pool(self, connector: Connector) -> Connection:
        connection = await connector.connect_for_pool()
        connection.statement_log = self.statement_log
        return connection

    async def _wait_for_connection(self, pool: Pool) -> None:
        """Wait until the pool has a connection, or raise the error of a failed attempt.

        In a slow network :meth:`Pool.acquire` may raise although no attempt has failed. Then this
        method waits again.
        """
        while True:
            try:
                return pool.release(await pool.acquire())
            except DatabaseUnavailable:
                if pool.outage is not None:
                    raise

    def _warn_if_unverified(self) -> None:
        target = self.target
        if not target.is_local and not target.tls.verifies_server(self.settings):
            log.warning("DB_SSL_VERIFY is false: the server at %s is not verified", target)

    async def close_pool(self) -> None:
        """Close the pool if it is open, with connections in use after CLOSE_SECONDS."""
        pool = self.pool
        if pool is None or pool.is_closing:
            return
        if self._watchdog is not None:
            self._watchdog.stop()
        if self._monitor is not None:
            self._monitor[1].close()
            self._monitor = None
        try:
            await pool.close(CLOSE_SECONDS)
        finally:
            self.pool = None

    async def connect(self, seconds: float | None = None) -> Connection:
        """Open a connection outside the pool, without statement timeouts.

        Raises:
            SettingsError: no database is configured, or its URL is invalid.
            DatabaseUnavailable: the server does not answer within DB_CONNECT_TIMEOUT, or within
                ``seconds``.
            DatabaseRefused: the server refuses the connection or is not trusted.
        """
        try:
            seconds = seconds or self.settings.db_connect_timeout
            connection = await self.connector.connect(seconds)
        except LearnerError as error:
            raise self._fatal(error) from error.__cause__
        connection.statement_log = self.statement_log
        return connection

    def usable_pool(self) -> Pool | None:
        """Return the pool for the connections of this context, None if each needs a new connection.

        Raises:
            PoolNotStarted: there is no pool, or it belongs to another event loop.
        """
        if self.connects_as_owner or _connections_as_owner.get() is self:
            return None
        pool = self.pool
        if pool is None:
            if self.needs_pool:
                raise PoolNotStarted(
                    "no connection pool: use `async with DB.running():` around the program, or "
                    "await DB.start_connection_pool() at its start"
                )
        elif pool.loop is not asyncio.get_running_loop():
            raise PoolNotStarted(
                "the connection pool belongs to another event loop: use one engine per event loop"
            )
        return pool

    async def acquire(self, *, in_pool: bool = True) -> Connection:
        """Acquire a connection for exclusive use until :meth:`release`.

        Args:
            in_pool: False opens a new connection.

        Raises:
            PoolExhausted: none became free within DB_ACQUIRE_TIMEOUT.
            DatabaseUnavailable, DatabaseRefused: no new connection could be opened.
            PoolNotStarted: there is no pool, or it belongs to another event loop.
        """
        if self.observers.registered:
            return await self._acquire_observed(in_pool)
        return await self._acquire(in_pool)

    async def _acquire(self, in_pool: bool) -> Connection:
        pool = self.usable_pool() if in_pool else None
        return await (self.connect() if pool is None else pool.acquire())

    async def _acquire_observed(self, in_pool: bool) -> Connection:
        started = time.perf_counter()
        failed: type[BaseException] | None = None
        try:
            return await self._acquire(in_pool)
        except BaseException as error:
            failed = type(error)
            raise
        finally:
            seconds = time.perf_counter() - started
            self.observers.notify(CheckoutEvent(self.replica_name, seconds, failed))

    async def release(self, connection: Connection) -> None:
        """Return an acquired connection in any state to the pool, or close it if it has none."""
        if self.pool is not None and connection in self.pool.in_use:
            self.pool.release(connection)
        elif connection.is_closed() or connection.is_busy():
            connection.terminate()
        else:
            await connection.close(timeout=CLOSE_SECONDS)

    def handle_error(
        self,
        error: BaseException,
        statement: str,
        connection: Connection,
        *,
        read_only: bool = False,
    ) -> DatabaseError:
        """Return the package's error for an error of the driver, and react to it.

        Depending on the error the connection is terminated, statement caches are cleared, or the
        pool closes its idle connections or replaces all of them.

        Args:
            error: error of the driver or the network.
            statement: the SQL that was sent.
            connection: the connection on which it was sent.
            read_only: True if the transaction was declared read-only.
        """
        is_closed, elapsed = connection.is_closed(), 0.0
        if isinstance(error, TimeoutError):
            elapsed = asyncio.get_running_loop().time() - connection.last_sent_at
            # The server's own timeout is shorter, so a reachable server would have answered.
            if elapsed > self.settings.statement_seconds:
                connection.terminate()
        has_limit = connection.command_timer is not None
        is_ours = has_limit and elapsed >= self.settings.db_command_timeout - CLOCK_SECONDS
        failure = translate(error, statement, lost=is_closed, is_limit_of_caller=not is_ours)
        if failure.sqlstate == FEATURE_NOT_SUPPORTED and connection.is_read_only():
            # a standby refuses serializable transactions with this SQLSTATE instead of 25006
            failure = DatabaseReadOnly(str(failure), sqlstate=FEATURE_NOT_SUPPORTED)
        if isinstance(failure, SchemaChanged) and self.pool is not None:
            self.pool.clear_statement_cache()
        if isinstance(failure, InvalidValue) and failure.sqlstate is None:
            # the driver cached the parameter types, which a migration may have changed
            connection.clear_statement_cache()
        if isinstance(failure, ConnectionLost) and self.pool is not None:
            self.pool.drop_idle()  # the cause has often broken the other connections as well
        if isinstance(failure, DatabaseReadOnly):
            if read_only or self.replica_name is not None:
                return StatementRefused(
                    "the transaction or replica is read-only", sqlstate=failure.sqlstate
                )
            if self.pool is not None:
                self.pool.expire()  # after a failover: leave the server that became a standby
        return failure

    def _fatal(self, error: LearnerError) -> BaseException:
        """Return the error, or a SystemExit with its message if ``exits_without_database``."""
        return SystemExit(str(error)) if self.exits_without_database else error
