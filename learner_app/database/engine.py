"""The engine that Piccolo's queries, the migrations, the repositories and the admin all run on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Never, TypeVar, get_args

from piccolo.columns import Column
from piccolo.query import Select
from piccolo.querystring import QueryString

from learner_app.database.cancellation import Callback
from learner_app.database.commit_status import was_committed
from learner_app.database.executor import StatementExecutor
from learner_app.database.retry import DEADLINE_SECONDS, run_transaction
from learner_app.database.stream import BATCH, Row, stream
from learner_app.database.transaction import Isolation, Transaction
from learner_app.errors import (
    StatementRefused,
    TransactionError,
    TransactionId,
    TransactionRequired,
)

T = TypeVar("T")


class DatabaseEngine(StatementExecutor):
    """Piccolo's PostgreSQL engine with a pool, transactions, retries and errors of our own.

    What runs inside a ``transaction()`` of the same task, or of the task that started it, takes
    part in it. Every error is one of :mod:`learner_app.errors`.
    """

    def transaction(
        self,
        allow_nested: bool = True,
        *,
        isolation: Isolation | None = None,
        read_only: bool = False,
        deferrable: bool = False,
        track_commit: bool = False,
    ) -> Transaction:
        """``async with DB.transaction():`` all of the block or nothing of it.

        A nested block is a savepoint: what it raises undoes its own part only. Whatever happens,
        the block ends with the transaction over and the connection given back. Statements of
        other tasks that were started inside take turns; those of tasks that outlive it fail.

        Args:
            allow_nested: whether it may stand inside another one.
            isolation: that of the server (``read committed``) when left out.
            read_only: refuse writes.
            deferrable: with ``serializable`` and ``read_only``, wait for a snapshot that cannot
                fail.
            track_commit: note the id before COMMIT, for :meth:`was_committed`; costs a statement.

        Raises:
            CommitUnknown: COMMIT was sent and its answer lost.
            TransactionRolledBack: an error of the database was caught inside the block.
            SerializationFailure, DeadlockDetected, ConnectionLost: nothing was committed.
        """
        if isolation is not None and isolation not in get_args(Isolation):
            raise TransactionError(f"isolation is one of {', '.join(get_args(Isolation))}")
        return Transaction(
            self,
            isolation=isolation,
            read_only=read_only,
            deferrable=deferrable,
            track_commit=track_commit,
            allow_nested=allow_nested,
        )

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
        """Run the unit in a transaction, and all of it again when only concurrency was against it.

        Again after a serialization failure, a deadlock, a connection lost before COMMIT or a
        server that became read only, with random growing pauses. A lost COMMIT is never repeated,
        unless ``track_commit`` is set and the server reports that it was not done. Inside another
        transaction it runs once: only the outermost unit can be run again.

        Args:
            unit: does its work through this engine; whatever else it does may happen twice.
            deadline: seconds, after which no try begins.
            isolation: this and the others as of :meth:`transaction`.
            read_only: refuse writes.
            deferrable: wait for a snapshot that cannot fail.
            track_commit: note the id, so that a lost COMMIT can be looked up.

        Raises:
            CommitUnknown: COMMIT was sent, its answer lost, and the outcome could not be looked up.
            DatabaseError: what the last try raised; nothing of any try was committed.
        """
        options = {
            "isolation": isolation,
            "read_only": read_only,
            "deferrable": deferrable,
            "track_commit": track_commit,
        }
        return await run_transaction(self, unit, deadline=deadline, **options)

    def after_commit(self, callback: Callback) -> None:
        """Call it once the outermost transaction is committed; dropped on rollback.

        Raises:
            TransactionRequired: there is no transaction.
        """
        transaction = self.enclosing_transaction()
        if transaction is None:
            raise TransactionRequired("after_commit() is for the inside of a transaction")
        transaction.after_commit(callback)

    async def was_committed(
        self, transaction_id: TransactionId | str, *, seconds: float = DEADLINE_SECONDS
    ) -> bool | None:
        """What became of a track_commit transaction whose COMMIT got no answer.

        Asked until it is decided, at most for the seconds. None when it is not to be known: it is
        still in progress, too old, or of another server or of the time before a failover.
        """
        return await was_committed(self, TransactionId(transaction_id), seconds)

    def stream(
        self, query: Select[Any], *, key: Sequence[Column] = (), batch: int = BATCH
    ) -> AsyncGenerator[Row, None]:
        """The rows of a query, one by one, in the order of the key and in constant memory.

        Outside a transaction they come by keyset pages, so that nothing is held between them: rows
        that change meanwhile are seen as they are when their page is read. Inside one they come
        from a cursor on one snapshot.

        Args:
            query: ``Table.select(...)`` with any ``where``, without order, limit and offset.
            key: columns that tell rows apart, among those selected; the primary key if left out.
            batch: rows a page.

        Raises:
            StatementRefused: the query has an order of its own, or lacks a column of the key.
        """
        return stream(self, query, key, batch)

    async def batch(self, *_args: Any, **_kwargs: Any) -> Never:
        """Piccolo's swallows errors and leaves the pool: use :meth:`stream`."""
        raise StatementRefused("batch() is not offered: use DB.stream(query)")

    async def run_querystring(self, querystring: QueryString, in_pool: bool = True) -> list[Any]:
        sql, args = querystring.compile_string(engine_type=self.engine_type)
        return await self._perform(lambda it: it.fetch(sql, *args), sql, in_pool=in_pool)

    async def run_ddl(self, ddl: str, in_pool: bool = True) -> list[Any]:
        return await self._perform(lambda it: it.fetch(ddl), ddl, in_pool=in_pool)

    async def _run_in_pool(self, query: str, args: Sequence[Any] | None = None) -> Any:
        return await self.fetch(query, *(args or ()))

    async def _run_in_new_connection(self, query: str, args: Sequence[Any] | None = None) -> Any:
        return await self._perform(lambda it: it.fetch(query, *(args or ())), query, in_pool=False)
