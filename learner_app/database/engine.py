"""Database engine of Piccolo's queries, the migrations, the repositories and the admin."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    Sequence,
)
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    asynccontextmanager,
)
from functools import partial
from typing import Any, Never, Self, TypeVar
from uuid import UUID

from piccolo.columns import Column
from piccolo.engine import PostgresEngine
from piccolo.query import Select
from piccolo.querystring import QueryString

from learner_app.database.after_commit import Callback
from learner_app.database.commit_status import was_committed
from learner_app.database.connection import Connection
from learner_app.database.connections import Connections
from learner_app.database.delegated import Delegated
from learner_app.database.dsn import DatabaseUrl
from learner_app.database.engine_parts import EngineParts
from learner_app.database.executor import StatementExecutor
from learner_app.database.instrumentation import Observers
from learner_app.database.lease import Lease
from learner_app.database.pool import Pool
from learner_app.database.replicas import make_replicas
from learner_app.database.retry import DEADLINE_SECONDS, TransactionRunner, wait_until_ready
from learner_app.database.scope import Scope, ScopeStack
from learner_app.database.stream import BATCH_ROWS, Row, RowStream
from learner_app.database.transaction import (
    Transaction,
)
from learner_app.database.transaction_options import Isolation, TransactionOptions
from learner_app.errors import (
    StatementRefused,
    TransactionId,
    TransactionRequired,
)
from learner_app.settings import Settings

__all__ = [
    "DatabaseEngine",
]

T = TypeVar("T")


class DatabaseEngine(PostgresEngine):
    """Piccolo's PostgreSQL engine with a bounded pool, transactions, retries and typed errors.

    It owns its parts: the connections, the statement executor, the scopes and the observers. Inside
    a ``transaction()`` all statements of the same task, and of tasks that it starts, belong to the
    transaction. Every error is one of :mod:`learner_app.errors`.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        name: str | None = None,
        owner_url: str | None = None,
        needs_pool: bool = True,
        log_queries: bool = False,
        log_responses: bool = False,
    ) -> None:
        """
        Args:
            url: URL of the database; found through the settings if left out.
            name: name of the read replica; None for the main server.
            owner_url: URL for the owner role if ``url`` is passed; ``url`` if left out.
            needs_pool: refuse statements without a pool; False is for commands with few statements.
            log_queries: print each statement and its duration, without its parameter values.
            log_responses: print the number of rows and their columns, or the command tag.
        """
        self.connections = Connections(
            url, replica_name=name, owner_url=owner_url, needs_pool=needs_pool
        )
        self._replicas: tuple[Settings, Mapping[str, Self]] | None = None
        super().__init__(config={}, log_queries=log_queries, log_responses=log_responses)
        self._compose(ScopeStack(), Observers())

    def _compose(self, scopes: ScopeStack, observers: Observers) -> None:
        self.observers = observers
        """Observers of statements, transactions and errors: ``DB.observers.add(observer)``."""
        self.connections.observers = observers
        current = self.current_transaction
        self._parts = EngineParts(self, self.connections, current, scopes, observers)
        self._executor = StatementExecutor(self._parts)

    # Overrides: Piccolo's constructor would connect, and assigns attributes that are properties.

    async def check_version(self) -> None:
        """Do nothing, as Piccolo's method would connect in the constructor."""

    async def prep_database(self) -> None:
        """Do nothing, as Piccolo's method would connect in the constructor to create extensions."""

    @property
    def config(self) -> dict[str, Any]:
        """Arguments of ``asyncpg.connect``, for Piccolo's ``sql_shell``."""
        return self.target.connect_arguments(self.settings)

    @config.setter
    def config(self, value: dict[str, Any]) -> None:
        """Ignore the value of Piccolo's constructor."""

    @property  # type: ignore[override]  # an attribute of asyncpg's pool in Piccolo
    def pool(self) -> Pool | None:
        """The connection pool, None before it is started and after it is closed."""
        return self.connections.pool

    @pool.setter
    def pool(self, value: Any) -> None:
        """Ignore the value of Piccolo's constructor."""

    @property  # type: ignore[override]  # an attribute in Piccolo
    def extra_nodes(self) -> Mapping[str, Self]:
        """Piccolo's name of :attr:`replicas`: ``query.run(node="reports")``."""
        return self.replicas

    @extra_nodes.setter
    def extra_nodes(self, value: Any) -> None:
        """Ignore the value of Piccolo's constructor."""

    log_queries = Delegated[bool]("connections.statement_log.queries")
    """True if statements are printed, as DB_ECHO sets it at the first connection."""

    log_responses = Delegated[bool]("connections.statement_log.responses")
    """True if row counts and columns, or command tags, are printed."""

    # Settings and connections.

    @property
    def settings(self) -> Settings:
        """Settings, loaded at the first use and again after an assignment of None."""
        return self.connections.settings

    @settings.setter
    def settings(self, settings: Settings | None) -> None:
        self.connections.settings = settings

    url = Delegated[str | None]("connections.url")
    """URL passed to the constructor, None if the settings determine the database."""

    owner_url = Delegated[str | None]("connections.owner_url")
    """URL for the owner role, None if ``url`` or the settings determine it."""

    needs_pool = Delegated[bool]("connections.needs_pool")
    """True if statements are refused without a pool."""

    @property
    def name(self) -> str | None:
        """Name of the read replica, None for the main server."""
        return self.connections.replica_name

    def prepare_for_command(self, *, exits_without_database: bool, connects_as_owner: bool) -> None:
        """Configure the engine for a command, which sends few statements and needs no pool.

        Args:
            exits_without_database: raise SystemExit with a one-line message instead of errors about
                settings and failed connections.
            connects_as_owner: always connect as the owner role.
        """
        self.connections.needs_pool = False
        self.connections.exits_without_database = exits_without_database
        self.connections.connects_as_owner = connects_as_owner

    @property
    def target(self) -> DatabaseUrl:
        """Database of new connections, with the role of this context.

        Raises:
            SettingsError: no database is configured, or its URL is invalid.
        """
        return self.connections.target

    @property
    def replicas(self) -> Mapping[str, Self]:
        """Read-only mapping from the names in DB_REPLICAS to the engines of the replicas.

        ``DB.replicas["reports"].fetch(…)`` reads from one. An unknown name is a SettingsError.
        """
        settings = self.settings
        if self._replicas is None or self._replicas[0] is not settings:
            self._replicas = settings, make_replicas(settings, self._make_replica)
        return self._replicas[1]

    def _make_replica(self, name: str, url: str) -> Self:
        replica = type(self)(url, name=name, needs_pool=self.needs_pool)
        replica.settings = self.settings.model_copy(update={"db_replicas": None})
        replica.connections.statement_log = self.connections.statement_log
        replica._compose(self._parts.scopes, self.observers)
        return replica

    @property
    def is_owner(self) -> bool:
        """True if new connections of this context use the owner role, see :meth:`as_owner`."""
        return self.connections.is_owner

    def as_owner(self) -> AbstractContextManager[None]:
        """Connect as the owner role inside the block, without the pool.

        It applies to this task and the tasks that it starts in the block. Nothing changes if no
        owner role is configured.

        Raises:
            TransactionError: inside a transaction, whose connection uses the application role.
            SettingsError: the settings of the owner role are invalid.
        """
        return self.connections.as_owner(self.transaction_exists)

    async def start_connection_pool(self, **_kwargs: Any) -> None:
        """Open the pools of the engine and its replicas.

        If a server is unreachable, that is logged, and its pool continues to try to connect.
        """
        if self.pool is not None:
            return
        await self.connections.start_pool()
        for replica in self.replicas.values():
            await replica.start_connection_pool()

    async def close_connection_pool(self) -> None:
        """Close the pools of the engine and its replicas.

        Connections in use are closed after 5 seconds, or immediately if the caller is cancelled.
        """
        replicas = self._replicas[1].values() if self._replicas else ()
        await asyncio.gather(
            self.connections.close_pool(),
            *(replica.close_connection_pool() for replica in replicas),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Return an ``async with`` block that opens the pool, and closes it at the end."""
        try:
            await self.start_connection_pool()
            yield self
        finally:
            await self.close_connection_pool()

    async def wait_until_ready(self) -> None:
        """Wait at the start of a program until the server accepts connections.

        Raises:
            DatabaseUnavailable: DB_RETRY_ATTEMPTS attempts failed, or DB_RETRY_DEADLINE has passed.
            DatabaseRefused: authentication or configuration failed, which is not retried.
        """
        await wait_until_ready(self.connections)

    async def get_new_connection(self, seconds: float | None = None) -> Connection:
        """Open a connection outside the pool, without statement timeouts, for long work.

        The caller has to close it. ``seconds`` limits the time for connecting; None is
        DB_CONNECT_TIMEOUT.

        Raises:
            SettingsError: no database is configured, or its URL is invalid.
            DatabaseUnavailable: the server does not answer in time.
            DatabaseRefused: the server refuses the connection or is not trusted.
        """
        return await self.connections.connect(seconds)

    # Statements.

    def fetch(
        self, sql: str, *args: Any, idempotent: bool = False, name: str | None = None
    ) -> Coroutine[Any, Any, list[Any]]:
        """Execute a statement and return its rows as records of asyncpg.

        Args:
            sql: one statement with parameters ``$1``, ``$2`` and so on.
            args: values of the parameters.
            idempotent: True if executing the statement twice has the effect of executing it once.
                Such a statement, like one that only reads, is retried once if its connection is
                lost. Any other statement is retried only if it was certainly not executed.
            name: name of the statement for observers, such as ``content.get``.

        Raises:
            CommitUnknown: a write outside a transaction was sent and its answer lost; for an
                idempotent statement the retry failed as well.
            DatabaseError: the statement failed; see :mod:`learner_app.errors`.
        """
        # not an async function, as each coroutine more costs about one percent of a statement
        return self._executor.fetch(sql, args, 0, None, idempotent, name)

    def fetchrow(
        self, sql: str, *args: Any, idempotent: bool = False, name: str | None = None
    ) -> Coroutine[Any, Any, Any | None]:
        """Execute a statement and return its first row or None, see :meth:`fetch`."""
        return self._executor.fetch(sql, args, 1, _first_row, idempotent, name)

    def fetchval(
        self, sql: str, *args: Any, idempotent: bool = False, name: str | None = None
    ) -> Coroutine[Any, Any, Any]:
        """Execute a statement and return its first value or None, see :meth:`fetch`."""
        return self._executor.fetch(sql, args, 1, _first_value, idempotent, name)

    def execute(
        self, sql: str, *args: Any, idempotent: bool = False, name: str | None = None
    ) -> Coroutine[Any, Any, str]:
        """Execute a statement and return its command tag such as ``UPDATE 3``.

        The arguments and errors are those of :meth:`fetch`. Without parameters the SQL may consist
        of several statements.

        Raises:
            StatementRefused: the statement is empty.
        """
        return self._executor.execute(sql, args, idempotent, name)

    async def perform(
        self,
        work: Callable[[Lease], Awaitable[T]],
        statement: str = "",
        *,
        idempotent: bool = False,
        in_pool: bool = True,
        name: str | None = None,
    ) -> T:
        """Call a function with a leased connection, and retry it as a statement is retried.

        Inside a transaction it is the transaction's connection, and the work is not retried.

        Args:
            work: called with the lease, which has all methods of ``asyncpg.Connection`` and ends
                when the work returns.
            statement: the SQL that the work sends, to distinguish reads from writes.
            idempotent: see :meth:`fetch`.
            in_pool: False opens a new connection for the work.
            name: see :meth:`fetch`.

        Raises:
            CommitUnknown, DatabaseError: see :meth:`fetch`.
            LeaseEnded: the lease was used after the work returned.
        """
        return await self._executor.perform(
            work, statement, idempotent=idempotent, in_pool=in_pool, name=name
        )

    def connection(self) -> AbstractAsyncContextManager[Lease]:
        """Return an ``async with`` block that leases a connection for asyncpg's methods, as COPY.

        Inside a transaction it is the transaction's connection, which other tasks cannot use until
        the end of the block. Inside a :meth:`scope` the block is a transaction. After the block the
        lease raises LeaseEnded, and so do cursors and prepared statements made through it. A
        statement that is still running at the end is cancelled; inside a transaction the next
        statement waits for it instead.

        Raises:
            CommitUnknown: a write was sent and its answer lost.
            LeaseEnded: the lease was used after its block.
        """
        return self._executor.connection()

    def stream(
        self, query: Select[Any], *, key: Sequence[Column] = (), batch: int = BATCH_ROWS
    ) -> AsyncGenerator[Row, None]:
        """Return an async generator of the rows of a query, in key order and in constant memory.

        Outside a transaction the rows are read in keyset pages, without occupying a connection
        between the pages. Inside a transaction they are read from a cursor on one snapshot.

        Args:
            query: ``Table.select(...)`` with any ``where``, without order, limit and offset.
            key: selected columns that identify a row; the primary key if left out.
            batch: rows per page.

        Raises:
            StatementRefused: the query has an order of its own, or lacks a column of the key.
        """
        return RowStream(self._executor, self._parts.scopes, query, batch=batch).rows(key)

    async def batch(self, *_args: Any, **_kwargs: Any) -> Never:
        """Raise StatementRefused, as Piccolo's batches suppress errors and bypass the pool."""
        raise StatementRefused("batch() is not supported: use DB.stream(query)")

    # Transactions and scopes.

    def transaction(
        self,
        allow_nested: bool = True,
        *,
        isolation: Isolation | None = None,
        read_only: bool = False,
        deferrable: bool = False,
        track_commit: bool = False,
    ) -> Transaction:
        """Return an ``async with`` block that is committed as a whole or rolled back.

        A nested block is a savepoint: an exception that leaves it rolls back only that block. At
        the end of the outermost block the transaction has ended and its connection is released,
        whatever happened. Statements of tasks that were started inside are executed one after
        another; a task that is still running after the block gets TransactionFinished.

        Args:
            allow_nested: False raises an error if the block is nested.
            isolation: ``read committed`` (default of the server), ``repeatable read`` or
                ``serializable``.
            read_only: let the server refuse writes.
            deferrable: with serializable and read_only, wait for a snapshot on which the
                transaction cannot fail to serialize.
            track_commit: read the transaction's id before COMMIT, for :meth:`was_committed`.

        Raises:
            CommitUnknown: COMMIT was sent and its answer lost.
            TransactionRolledBack: an error of the database was caught inside the block.
            SerializationFailure, DeadlockDetected, ConnectionLost: nothing was committed.
        """
        options = TransactionOptions(isolation, read_only, deferrable, track_commit)
        return Transaction(self._parts, options, allow_nested=allow_nested)

    async def run_transaction(
        self,
        unit: Callable[[], Awaitable[T]],
        *,
        deadline: float = DEADLINE_SECONDS,
        isolation: Isolation | None = None,
        read_only: bool = False,
        deferrable: bool = False,
        track_commit: bool = False,
    ) -> T:
        """Run a unit of work in a transaction, and retry it after a failure that allows this.

        Such failures are serialization failures, deadlocks, a connection lost before COMMIT, a
        changed table and a server that became read-only. The pauses grow exponentially, with full
        jitter. If the answer to COMMIT is lost, the unit is retried only with ``track_commit``, and
        only if the server reports that the transaction was not committed. Inside another
        transaction the unit runs once: only the outermost unit can be retried.

        Args:
            unit: async function without arguments that uses this engine. Its effects outside the
                database may happen more than once.
            deadline: seconds after which no attempt begins.
            isolation: see :meth:`transaction`.
            read_only: see :meth:`transaction`.
            deferrable: see :meth:`transaction`.
            track_commit: look up the commit status if the answer to COMMIT is lost.

        Raises:
            CommitUnknown: the answer to COMMIT was lost, and the commit status is not known.
            DatabaseError: error of the last attempt; no attempt was committed.
        """
        options = TransactionOptions(isolation, read_only, deferrable, track_commit)
        status = partial(was_committed, self._executor)
        return await TransactionRunner(self._parts, options, status, deadline=deadline).run(unit)

    def enclosing_transaction(self) -> Transaction | None:
        """Return the transaction to which statements of this task belong, None outside of any.

        Raises:
            TransactionFinished: this task was started in a transaction that has ended.
        """
        return self._executor.enclosing_transaction()

    def transaction_exists(self) -> bool:
        """Return True inside a transaction, with the error of :meth:`enclosing_transaction`."""
        return self.enclosing_transaction() is not None

    def after_commit(self, callback: Callback) -> None:
        """Register a function to be called after the commit of the outermost transaction.

        It may be an async function. It is dropped if its block or an enclosing one is rolled back.

        Raises:
            TransactionRequired: there is no transaction.
        """
        transaction = self.enclosing_transaction()
        if transaction is None:
            raise TransactionRequired(
                "after_commit() requires a transaction: "
                "call it inside `async with DB.transaction():`"
            )
        transaction.after_commit(callback)

    async def was_committed(
        self, transaction_id: TransactionId | str, *, seconds: float = DEADLINE_SECONDS
    ) -> bool | None:
        """Return the commit status of a transaction with ``track_commit``, None if unknown.

        The status is unknown if the transaction is still in progress after ``seconds``, is too old,
        belongs to another server, or was begun before a failover.

        Raises:
            DatabaseError: the server could not be asked within ``seconds``.
        """
        return await was_committed(self._executor, TransactionId(transaction_id), seconds)

    def scope(
        self,
        *,
        tenant: str | UUID | None = None,
        actor: str | UUID | None = None,
        request_id: str | UUID | None = None,
    ) -> AbstractContextManager[Scope]:
        """Return a ``with`` block whose statements have a tenant, an actor and a request id.

        The server receives the values as settings of the transaction, which policies and triggers
        read (:mod:`learner_app.schema.session_settings`). A statement outside a transaction is
        executed in a short transaction of its own. The scope covers the block, the tasks started
        inside, and the replicas. A nested scope inherits the values that it does not set.

        Args:
            tenant: id of the tenant; a nested scope cannot change it.
            actor: user or service on whose behalf the statements run.
            request_id: id of the request.

        Raises:
            ScopeError: the scope is nested in that of another tenant.
            InvalidValue: a value is empty, longer than 200 characters or contains a NUL.
        """
        return self._parts.scopes.enter(tenant, actor, request_id)

    @property
    def current_scope(self) -> Scope:
        """Values of the scope of this context, None for each value that is not set."""
        return self._parts.scopes.current()

    # Methods that Piccolo's queries call.

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> list[Any]:
        sql, args = querystring.compile_string(engine_type=self.engine_type)
        if in_pool:
            return await self.fetch(sql, *args)
        return await self._executor.run(lambda conn: conn.fetch(sql, *args), sql, in_pool=False)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> list[Any]:
        return await self._executor.run(lambda conn: conn.fetch(ddl), ddl, in_pool=in_pool)

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        return await self.fetch(query, *(args or ()))

    async def _run_in_new_connection(self, query: str, args: Sequence[Any] | None = None) -> Any:
        return await self._executor.run(
            lambda conn: conn.fetch(query, *(args or ())), query, in_pool=False
        )


def _first_row(rows: Sequence[Any]) -> Any | None:
    return rows[0] if rows else None


def _first_value(rows: Sequence[Any]) -> Any | None:
    return rows[0][0] if rows else None
