"""The engine that Piccolo's queries, the migrations, the repositories and the admin run on."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
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

from learner_app.database.commit_status import was_committed
from learner_app.database.connection import Connection
from learner_app.database.connections import Connections
from learner_app.database.dsn import DatabaseUrl
from learner_app.database.executor import StatementExecutor
from learner_app.database.instrumentation import Observers
from learner_app.database.lease import Lease
from learner_app.database.pool import Pool
from learner_app.database.replicas import make_replicas
from learner_app.database.retry import DEADLINE_SECONDS, TransactionRunner, wait_until_ready
from learner_app.database.scope import Scope, ScopeStack
from learner_app.database.stream import BATCH_ROWS, Row, RowStream
from learner_app.database.transaction import (
    Callback,
    Transaction,
    TransactionParts,
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
            needs_pool: refuse statements without a pool; False is for commands, which send few.
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
        self._parts = TransactionParts(self, self.connections, current, scopes, observers)
        self._executor = StatementExecutor(self._parts)

    # Piccolo's constructor: it connects and assigns attributes that are derived here.

    async def check_version(self) -> None:
        """Do nothing, whereas Piccolo asks the server for its version in the constructor."""

    async def prep_database(self) -> None:
        """Do nothing, whereas Piccolo creates extensions in the constructor."""

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

    @property
    def log_queries(self) -> bool:
        """True if statements are printed, as DB_ECHO sets it at the start."""
        return self.connections.statement_log.queries

    @log_queries.setter
    def log_queries(self, value: bool) -> None:
        self.connections.statement_log.switch(queries=value)

    @property
    def log_responses(self) -> bool:
        """True if the shape of results is printed."""
        return self.connections.statement_log.responses

    @log_responses.setter
    def log_responses(self, value: bool) -> None:
        self.connections.statement_log.switch(responses=value)

    # Settings and connections.

    @property
    def settings(self) -> Settings:
        """Settings, loaded at the first use and again after an assignment of None."""
        return self.connections.settings

    @settings.setter
    def settings(self, settings: Settings | None) -> None:
        self.connections.settings = settings

    @property
    def url(self) -> str | None:
        """URL passed to the constructor, None if the settings name the database."""
        return self.connections.url

    @url.setter
    def url(self, url: str | None) -> None:
        self.connections.url = url

    @property
    def owner_url(self) -> str | None:
        """URL of the database as the owner role, None if it is the URL or the settings'."""
        return self.connections.owner_url

    @owner_url.setter
    def owner_url(self, url: str | None) -> None:
        self.connections.owner_url = url

    @property
    def name(self) -> str | None:
        """Name of the read replica, None for the main server."""
        return self.connections.replica_name

    @property
    def needs_pool(self) -> bool:
        """True if statements are refused without a pool."""
        return self.connections.needs_pool

    @needs_pool.setter
    def needs_pool(self, value: bool) -> None:
        self.connections.needs_pool = value

    def prepare_for_command(self, *, exits_without_database: bool, connects_as_owner: bool) -> None:
        """Configure the engine for a command, which sends few statements and needs no pool.

        ``exits_without_database``: raise SystemExit with one line instead of errors.
        ``connects_as_owner``: always connect as the owner role.
        """
        self.connections.needs_pool = False
        self.connections.exits_without_database = exits_without_database
        self.connections.connects_as_owner = connects_as_owner

    @property
    def target(self) -> DatabaseUrl:
        """The database of new connections, as the role of this context.

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
        """True where new connections use the owner role, see :meth:`as_owner`."""
        return self.connections.is_owner

    def as_owner(self) -> AbstractContextManager[None]:
        """Connect as the owner role inside the block, without the pool.

        The block covers this task and the tasks that it starts. Nothing changes if no owner role
        is configured.

        Raises:
            TransactionError: inside a transaction, whose connection uses the application role.
            SettingsError: the settings of the owner role are invalid.
        """
        return self.connections.as_owner(self.transaction_exists)

    async def start_connection_pool(self, **_kwargs: Any) -> None:
        """Open the pools of the engine and its replicas, which keep trying to connect."""
        if self.pool is not None:
            return
        await self.connections.start_pool()
        for replica in self.replicas.values():
            await replica.start_connection_pool()

    async def close_connection_pool(self) -> None:
        """Close the pools, and after 5 seconds or on cancellation the connections in use."""
        replicas = self._replicas[1].values() if self._replicas else ()
        await asyncio.gather(
            self.connections.close_pool(),
            *(replica.close_connection_pool() for replica in replicas),
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """``async with engine.running()``: open the pool inside the block."""
        try:
            await self.start_connection_pool()
            yield self
        finally:
            await self.close_connection_pool()

    async def wait_until_ready(self) -> None:
        """Wait at the start of a program until the server accepts connections.

        Raises:
            DatabaseUnavailable: it did not within DB_RETRY_ATTEMPTS attempts or DB_RETRY_DEADLINE.
            DatabaseRefused: authentication or configuration failed, which is not retried.
        """
        await wait_until_ready(self.connections)

    async def get_new_connection(self, seconds: float | None = None) -> Connection:
        """Open a connection outside the pool, without statement time-outs, for long work.

        Args:
            seconds: connect time-out, DB_CONNECT_TIMEOUT if left out.

        Raises:
            SettingsError: no database is configured, or its URL is invalid.
            DatabaseUnavailable: the server does not answer in time.
            DatabaseRefused: the server refuses the connection or is not trusted.
        """
        return await self.connections.connect(seconds)

    # Statements.

    async def fetch(
        self, sql: str, *args: Any, idempotent: bool = False, name: str | None = None
    ) -> list[Any]:
        """Execute a statement and return its rows as records of asyncpg.

        Args:
            sql: one statement with parameters ``$1``, ``$2`` and so on.
            args: values of the parameters.
            idempotent: executing the statement twice has the effect of executing it once. Such a
                statement, like one that only reads, is repeated once if its connection breaks. Any
                other statement is repeated only if it was certainly not executed.
            name: name of the statement for observers, such as ``content.get``.

        Raises:
            CommitUnknown: a write outside a transaction was sent and its answer lost; for an
                idempotent statement the repetition failed as well.
            DatabaseError: the statement failed; see :mod:`learner_app.errors`.
        """
        return await self._executor.run(
            lambda it: it.fetch(sql, *args), sql, idempotent=idempotent, name=name
        )

    async def fetchrow(
        self, sql: str, *args: Any, idempotent: bool = False, name: str | None = None
    ) -> Any | None:
        """Execute a statement and return its first row or None, see :meth:`fetch`."""
        return await self._executor.run(
            lambda it: it.fetchrow(sql, *args), sql, idempotent=idempotent, name=name
        )

    async def fetchval(
        self, sql: str, *args: Any, idempotent: bool = False, name: str | None = None
    ) -> Any:
        """Execute a statement and return the first value of the first row or None."""
        return await self._executor.run(
            lambda it: it.fetchval(sql, *args), sql, idempotent=idempotent, name=name
        )

    async def execute(
        self, sql: str, *args: Any, idempotent: bool = False, name: str | None = None
    ) -> str:
        """Execute a statement and return its command tag such as ``UPDATE 3``."""
        if not sql.strip():
            raise StatementRefused("the statement is empty")
        return await self._executor.run(
            lambda it: it.execute(sql, *args), sql, idempotent=idempotent, name=name
        )

    async def perform(
        self,
        work: Callable[[Lease], Awaitable[T]],
        statement: str = "",
        *,
        idempotent: bool = False,
        in_pool: bool = True,
        name: str | None = None,
    ) -> T:
        """Await work on a leased connection, that of the transaction inside one.

        Args:
            work: called with the lease, which has all methods of ``asyncpg.Connection`` until the
                work returns.
            statement: the SQL that the work sends, to distinguish reads from writes.
            idempotent: see :meth:`fetch`.
            in_pool: False opens a connection for it.
            name: see :meth:`fetch`.

        Raises:
            CommitUnknown, DatabaseError: see :meth:`fetch`.
            LeaseEnded: the lease was used after the work returned.
        """
        return await self._executor.perform(
            work, statement, idempotent=idempotent, in_pool=in_pool, name=name
        )

    def connection(self) -> AbstractAsyncContextManager[Lease]:
        """Lease a connection for what the engine has no method for, such as COPY.

        Inside a transaction it is the transaction's connection, for this task alone until the end
        of the block. Inside a :meth:`scope` the block is a transaction. After the block the lease
        refuses to work, and so do cursors and prepared statements made through it. A statement
        that is still running at the end is cancelled; inside a transaction the next statement waits
        for it.

        Raises:
            CommitUnknown: a write was sent and its answer lost.
            LeaseEnded: the lease was used after its block.
        """
        return self._executor.connection()

    def stream(
        self, query: Select[Any], *, key: Sequence[Column] = (), batch: int = BATCH_ROWS
    ) -> AsyncGenerator[Row, None]:
        """Return the rows of a query one by one, in key order and in constant memory.

        Outside a transaction they are read in keyset pages, and no connection is held between the
        pages. Inside a transaction they come from a cursor on one snapshot.

        Args:
            query: ``Table.select(...)`` with any ``where``, without order, limit and offset.
            key: selected columns that identify a row; the primary key if left out.
            batch: rows per page.

        Raises:
            StatementRefused: the query has an order of its own, or lacks a column of the key.
        """
        return RowStream(self._executor, self._parts.scopes, query, batch=batch).rows(key)

    async def batch(self, *_args: Any, **_kwargs: Any) -> Never:
        """Refuse Piccolo's batches, which swallow errors and bypass the pool."""
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
        """``async with DB.transaction():`` commit the block as a whole, or roll it back.

        A nested block is a savepoint: an exception that leaves it undoes only its own part. In any
        case the transaction has ended and the connection is released at the end of the block.
        Statements of tasks that were started inside are executed one after another; a task that
        outlives the block gets TransactionFinished.

        Args:
            allow_nested: False refuses a nested block.
            isolation: ``read committed`` (default of the server), ``repeatable read`` or
                ``serializable``.
            read_only: refuse writes.
            deferrable: with serializable and read_only, wait for a snapshot that cannot fail.
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
        """Run a unit of work in a transaction, again after a retryable failure.

        Retryable are serialization failures, deadlocks, a connection lost before COMMIT and a
        server that became read only. The pauses grow exponentially, with full jitter. A lost COMMIT
        is never retried, unless ``track_commit`` is set and the server reports that it was not
        executed. Inside another transaction the unit runs once: only the outermost unit can be
        retried.

        Args:
            unit: works through this engine; its other effects may happen more than once.
            deadline: seconds after which no attempt begins.
            isolation: this and the other options are those of :meth:`transaction`.
            read_only: refuse writes.
            deferrable: wait for a snapshot that cannot fail.
            track_commit: makes a lost COMMIT retryable.

        Raises:
            CommitUnknown: COMMIT was sent, its answer lost, and its status could not be looked up.
            DatabaseError: the error of the last attempt; no attempt was committed.
        """
        options = TransactionOptions(isolation, read_only, deferrable, track_commit)
        status = partial(was_committed, self._executor)
        return await TransactionRunner(self._parts, options, status, deadline=deadline).run(unit)

    def enclosing_transaction(self) -> Transaction | None:
        """Return the transaction that statements of this task belong to, None outside of any.

        Raises:
            TransactionFinished: the transaction ended before this task, which was started inside.
        """
        return self._executor.enclosing_transaction()

    def transaction_exists(self) -> bool:
        """Return True inside a transaction."""
        return self.enclosing_transaction() is not None

    def after_commit(self, callback: Callback) -> None:
        """Call a function after the commit of the outermost transaction, drop it on rollback.

        Raises:
            TransactionRequired: there is no transaction.
        """
        transaction = self.enclosing_transaction()
        if transaction is None:
            raise TransactionRequired("after_commit() can only be used inside a transaction")
        transaction.after_commit(callback)

    async def was_committed(
        self, transaction_id: TransactionId | str, *, seconds: float = DEADLINE_SECONDS
    ) -> bool | None:
        """Return the commit status of a transaction with ``track_commit``, None if unknown.

        It is unknown if the transaction is still in progress after the given seconds, is too old,
        or belongs to another server or to the time before a failover.
        """
        return await was_committed(self._executor, TransactionId(transaction_id), seconds)

    def scope(
        self,
        *,
        tenant: str | UUID | None = None,
        actor: str | UUID | None = None,
        request_id: str | UUID | None = None,
    ) -> AbstractContextManager[Scope]:
        """``with DB.scope(tenant=…):`` give statements a tenant, an actor and a request id.

        The values are settings of the transaction (:mod:`learner_app.schema.session_settings`),
        which policies and triggers read. A statement outside a transaction runs in a short
        transaction of its own. The scope covers the block, the tasks started inside, and the
        replicas. A nested scope inherits the values that it does not set.

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
        """Scope of this context, with None for each value that is not set."""
        return self._parts.scopes.current()

    # Methods that Piccolo's queries call.

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> list[Any]:
        sql, args = querystring.compile_string(engine_type=self.engine_type)
        return await self._executor.run(lambda it: it.fetch(sql, *args), sql, in_pool=in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> list[Any]:
        return await self._executor.run(lambda it: it.fetch(ddl), ddl, in_pool=in_pool)

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        return await self.fetch(query, *(args or ()))

    async def _run_in_new_connection(self, query: str, args: Sequence[Any] | None = None) -> Any:
        return await self._executor.run(
            lambda it: it.fetch(query, *(args or ())), query, in_pool=False
        )
