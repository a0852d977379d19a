"""Sessions that an administrator terminates (57P01): repeated work and unknown outcomes."""

import asyncio
import gc
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import asyncpg
import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.database.reply_tracker import ReplyTracker
from learner_app.errors import (
    CommitUnknown,
    ConnectionLost,
    DatabaseError,
    DatabaseUnavailable,
    StatementRefused,
)
from learner_app.listening.tables import ListeningSessionTable
from tests.database.pools import reopen
from tests.database.sessions import add, keys

ALL_SESSIONS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type = 'client backend'
"""
LOAD_SECONDS = 3.0
READERS = 20
WRITERS = 5


@asynccontextmanager
async def administrator(engine: DatabaseEngine) -> AsyncIterator[Any]:
    """Yield a connection outside the engine, which terminates the other sessions."""
    connection = await asyncpg.connect(engine.url)
    try:
        yield connection
    finally:
        await connection.close()


async def terminate_for_a_while(engine: DatabaseEngine) -> int:
    """Terminate random halves of the sessions repeatedly and return their number."""
    loop = asyncio.get_running_loop()
    ends = loop.time() + LOAD_SECONDS
    ended = 0
    async with administrator(engine) as connection:
        while loop.time() < ends:
            ended += len(await connection.fetch(f"{ALL_SESSIONS} AND random() < 0.5"))
            await asyncio.sleep(random.uniform(0.05, 0.15))
    return ended


@pytest.mark.slow
async def test_reads_succeed_although_their_sessions_are_terminated(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=10)
    await clone.execute("INSERT INTO sessions (id) SELECT 's' || i FROM generate_series(1, 50) i")
    counted: Counter[str] = Counter()

    async def read(number: int) -> None:
        kinds: list[Callable[[], Awaitable[Any]]] = [
            lambda: clone.fetch("SELECT id FROM sessions WHERE id > $1", "s2"),
            lambda: clone.fetchval("SELECT count(*) FROM sessions"),
            lambda: clone.execute("SELECT pg_sleep(0.002)"),
            lambda: ListeningSessionTable.select().where(ListeningSessionTable.id == "s7"),
            lambda: stream(clone),
        ]
        while not killing.done():
            try:
                await kinds[number % len(kinds)]()
                counted["read"] += 1
            except DatabaseError as error:
                counted[f"{type(error).__name__}: {error}"] += 1

    killing = asyncio.create_task(terminate_for_a_while(clone))
    await asyncio.gather(*(read(number) for number in range(READERS)))
    ended = await killing
    reads = counted.pop("read")
    assert reads > 300
    assert ended > 30
    # a repetition may meet the next round; without any, every third ended session costs a read
    assert counted.total() <= 2, (counted, reads, ended)


async def stream(engine: DatabaseEngine) -> list[Any]:
    query = ListeningSessionTable.select(ListeningSessionTable.id)
    rows = [row["id"] async for row in engine.stream(query, batch=10)]
    assert len(rows) == len(set(rows)) == 50
    return rows


@pytest.mark.slow
async def test_writes_are_neither_lost_nor_repeated_when_sessions_are_terminated(
    clone: DatabaseEngine,
):
    await reopen(clone, db_pool_max=10)
    await clone.execute("CREATE TABLE written (number int NOT NULL)")
    done: set[int] = set()
    undone: set[int] = set()
    unknown: set[int] = set()

    async def write(writer: int) -> None:
        number = writer
        while not killing.done():
            number += WRITERS
            try:
                await one(number, number % 4)
            except CommitUnknown:
                unknown.add(number)
            except DatabaseUnavailable:
                undone.add(number)
            else:
                done.add(number)

    async def one(number: int, how: int) -> None:
        sql = "INSERT INTO written VALUES ($1)"
        if how == 0:
            await clone.execute(sql, number)
        elif how == 1:
            await clone.perform(lambda it: it.executemany(sql, [(number,)]), sql)
        elif how == 2:
            await clone.run_transaction(lambda: clone.execute(sql, number))
        else:
            async with clone.transaction():
                await clone.fetch("SELECT 1")
                await clone.execute(sql, number)

    killing = asyncio.create_task(terminate_for_a_while(clone))
    await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
    await killing
    rows = [row["number"] for row in await clone.fetch("SELECT number FROM written")]
    found = set(rows)
    assert len(found) == len(rows), "nothing is there twice"
    assert done <= found, "nothing that was acknowledged is missing"
    assert not undone & found, "what was said not to be done is not there"
    assert len(done) > 100
    assert undone, "without a terminated transaction this shows nothing"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("waits", "is_bound"),
    [
        pytest.param(True, True, id="farewell in the socket"),
        pytest.param(True, False, id="farewell in the socket, simple query"),
        pytest.param(False, True, id="race with the farewell"),
    ],
)
async def test_writes_on_sessions_terminated_while_idle_are_repeated(
    clone: DatabaseEngine, waits: bool, is_bound: bool
):
    async def write(key: str) -> None:
        if is_bound:
            await clone.execute("INSERT INTO sessions (id) VALUES ($1)", key)
        else:
            await clone.execute(f"INSERT INTO sessions (id) VALUES ('{key}')")

    await reopen(clone, db_pool_max=1)
    unknown = 0
    async with administrator(clone) as connection:
        for number in range(60):
            await write(f"{number} before")
            await connection.fetch(ALL_SESSIONS)
            if waits:
                await connection.fetch("SELECT pg_sleep(0.01)")
            try:
                await write(f"{number} after")
            except CommitUnknown:  # it was in time to be begun
                assert not waits
                unknown += 1
    assert unknown <= 3, "without BindComplete it was not begun, and is repeated"
    assert len(await keys()) >= 120 - unknown


async def test_a_write_terminated_while_running_is_unknown_and_not_repeated(clone: DatabaseEngine):
    slow = "INSERT INTO sessions (id) SELECT $1 || pg_sleep(30)"
    for sql, args in ((slow, ("x",)), (slow.replace("$1", "'x'"), ())):
        writing = asyncio.create_task(clone.execute(sql, *args))
        await asyncio.sleep(0.2)
        async with administrator(clone) as connection:
            await connection.fetch(ALL_SESSIONS)
        with pytest.raises(CommitUnknown):
            await writing
    assert await keys() == []


async def test_a_read_terminated_while_running_is_repeated_once(clone: DatabaseEngine):
    async def end_sessions() -> None:
        await asyncio.sleep(0.2)
        await connection.fetch(ALL_SESSIONS)

    read = "SELECT pg_backend_pid() FROM pg_sleep(0.5)"
    async with administrator(clone) as connection:
        before = await clone.fetchval("SELECT pg_backend_pid()")
        pid, _ = await asyncio.gather(clone.fetchval(read), end_sessions())
        assert pid != before
        reading = asyncio.create_task(clone.fetchval(read))
        for _ in range(2):
            await end_sessions()
        with pytest.raises(ConnectionLost):
            await reading


async def end_first_run(engine: DatabaseEngine, runs: list[int]) -> None:
    runs.append(len(runs))
    if len(runs) == 1:
        async with administrator(engine) as connection:
            await connection.fetch(ALL_SESSIONS)


async def test_a_transaction_terminated_before_its_first_statement_is_retried(
    clone: DatabaseEngine,
):
    runs: list[int] = []

    async def unit() -> None:
        await end_first_run(clone, runs)
        await add("once")

    await clone.run_transaction(unit)
    assert runs == [0, 1]
    assert await keys() == ["once"]
    with pytest.raises(ConnectionLost):  # by itself it is not, since the block may have done more
        async with clone.transaction():
            await end_first_run(clone, [])
            await add("never")
    assert await keys() == ["once"]


async def test_a_transaction_begins_although_its_connection_was_terminated(clone: DatabaseEngine):
    await reopen(clone, db_pool_max=1)
    async with administrator(clone) as connection:
        for number in range(20):
            await connection.fetch(ALL_SESSIONS)
            try:
                async with clone.transaction():
                    await add(f"{number:02}")
            except ConnectionLost:  # ended after BEGIN
                assert f"{number:02}" not in await keys()
            await clone.execute("SELECT 1")
    assert len(await keys()) > 10


async def test_a_stream_continues_when_sessions_are_terminated_between_pages(clone: DatabaseEngine):
    await clone.execute("INSERT INTO sessions (id) SELECT 's' || i FROM generate_series(1, 50) i")
    found = []
    query = ListeningSessionTable.select(ListeningSessionTable.id)
    async with administrator(clone) as connection:
        async for row in clone.stream(query, batch=10):
            if len(found) % 10 == 0:
                await connection.fetch(ALL_SESSIONS)
            found.append(row["id"])
    assert len(set(found)) == len(found) == 50


@pytest.mark.parametrize("before", ["SELECT 1", "SELEC 1"])
async def test_statements_terminated_after_their_own_commit_are_not_repeated(
    clone: DatabaseEngine, before: str
):
    await reopen(clone, db_pool_max=1)
    with suppress(StatementRefused):
        await clone.fetch(before)  # the first message of its answer may be an error
    several = "INSERT INTO sessions (id) VALUES (gen_random_uuid()); COMMIT; SELECT pg_sleep(30)"
    writing = asyncio.create_task(clone.execute(several))
    await asyncio.sleep(0.2)
    async with administrator(clone) as connection:
        await connection.fetch(ALL_SESSIONS)
    with pytest.raises(CommitUnknown):
        async with asyncio.timeout(5):
            await writing
    assert len(await keys()) == 1


@pytest.mark.parametrize("how", ["prepared", "copy"])
async def test_work_terminated_between_two_writes_is_not_repeated(clone: DatabaseEngine, how: str):
    async def work(connection: Any) -> None:
        key = uuid4().hex
        if how == "prepared":
            statement = await connection.prepare("INSERT INTO sessions (id) VALUES ($1)")
            await statement.fetch(key)
        else:
            await connection.copy_records_to_table("sessions", records=[(key,)], columns=["id"])
        async with administrator(clone) as other:
            await other.fetch(ALL_SESSIONS)
            await other.fetch("SELECT pg_sleep(0.05)")
        await connection.execute("INSERT INTO sessions (id) VALUES ($1)", uuid4().hex)

    with pytest.raises(DatabaseUnavailable):
        await clone.perform(work)
    assert len(await keys()) == 1


@pytest.mark.slow
async def test_a_terminated_session_is_not_reported_as_busy(clone: DatabaseEngine):
    """COPY on a session whose end asyncpg had read, but not processed, left it unusable."""
    await reopen(clone, db_pool_max=10)
    counted: Counter[str] = Counter()
    unexpected: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unexpected.append(context))

    async def copy(connection: Any) -> None:
        records = [(uuid4().hex,)]
        await connection.copy_records_to_table("sessions", records=records, columns=["id"])

    async def work(number: int) -> None:
        while not killing.done():
            try:
                if number % 2:
                    await clone.perform(copy)
                else:
                    await clone.fetchval("SELECT $1::int", number)
                counted["done"] += 1
            except (CommitUnknown, DatabaseUnavailable):
                counted["ended"] += 1

    killing = asyncio.create_task(terminate_for_a_while(clone))
    await asyncio.gather(*(work(number) for number in range(READERS)))
    await killing
    gc.collect()  # asyncio reports an exception that nobody awaited when its future is freed
    await asyncio.sleep(0)
    assert counted["ended"] > 3
    assert unexpected == []


@pytest.mark.parametrize("rest", [b"", b"Z\0\0\0\5I"])
def test_a_fatal_error_is_found_after_an_answer(rest: bytes):
    fields = b"SSCHWERWIEGEND\0VFATAL\0C57P01\0RProcessInterrupts\0\0"
    farewell = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields
    ended: list[bool] = []
    tracker = ReplyTracker(SilentProtocol(), lambda: ended.append(True))
    tracker.data_received(b"C\0\0\0\5x" + b"Z\0\0\0\5I" + farewell + rest)
    assert bool(ended) == (not rest)  # in the middle it would be the content of a row
    tracker.data_received(b"D\0\0\0\x20a row with EEE \0VFATAL\0 in it")
    tracker.data_received(b"Z")
    assert bool(ended) == (not rest)


class SilentProtocol:
    """Protocol that receives the messages from the tracker."""

    def data_received(self, data: bytes) -> None: ...
    def connection_lost(self, error: Exception | None) -> None: ...
    def eof_received(self) -> None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...
