"""Operations of every repository on one row or several."""

import asyncio
import contextvars
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, get_args

import asyncpg
import pytest
from piccolo.columns import Varchar
from piccolo.columns.base import OnDelete
from piccolo.table import Table

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import ContentUpdate
from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    Conflict,
    InvalidValue,
    LockTimeout,
    NotFound,
    TransactionAborted,
    TransactionRequired,
)
from learner_app.listening.repositories import ListeningSessionRepository
from learner_app.listening.rows import ListeningSessionCreate, ListeningSessionUpdate
from learner_app.listening.tables import ListeningSessionTable
from learner_app.repository.base import Lock, locked_references
from learner_app.schema.columns import Reference
from learner_app.schema.tables import SchemaTable
from tests.content.factories import add_contents, new_content

T = TypeVar("T")

content, sessions = ContentRepository(), ListeningSessionRepository()

NO_KEYS: list[Any] = [
    *("", "nothing", "a\0", "\0", "\ud800", "x" * 255, "x" * 256, "x" * 100_000, "' OR true --"),
    *(None, 5, 1.5, True, b"c1", ["c1"], ("c1",), ("c1", "c1"), {"id": "c1"}, object()),
]


def new_sessions(*ids: str) -> list[ListeningSessionCreate]:
    return [ListeningSessionCreate(id=one) for one in ids]


@pytest.mark.parametrize("key", NO_KEYS, ids=lambda key: ascii(key)[:20])
async def test_a_malformed_key_counts_as_not_found(db: DatabaseEngine, key: Any):
    await add_contents("c1")
    assert await content.find(key) is None
    assert not await content.exists(key)
    assert await content.get_many([key]) == []
    for call in (content.get(key), content.update(key, ContentUpdate(title="t"))):
        with pytest.raises(NotFound) as caught:
            await call
        assert (caught.value.table, caught.value.fields) == ("content", ("id",))
    with pytest.raises(NotFound):
        await content.update(key, ContentUpdate())
    assert not await sessions.delete(key)


async def test_get_and_find_return_the_row_as_it_was_added(db: DatabaseEngine):
    (added,) = await add_contents("c1", metadata={"a": 1})
    assert await content.get("c1") == added
    assert await content.find("c1") == added
    assert await content.exists("c1")
    (long,) = await add_contents("é" * 255)
    assert await content.get("é" * 255) == long


async def test_get_many_keeps_the_order_of_the_keys(db: DatabaseEngine):
    await add_contents("a", "b", "c")
    wanted: list[Any] = ["c", "x", "a", *NO_KEYS, "c", "b"]
    assert [row.id for row in await content.get_many(wanted)] == ["c", "a", "c", "b"]
    assert await content.get_many([]) == []


async def test_an_existing_id_is_a_conflict(db: DatabaseEngine):
    await add_contents("c1")
    with pytest.raises(Conflict) as caught:
        async with db.transaction():
            await content.add(new_content("c1", title="5ecret"))
    error = caught.value
    assert (error.table, error.constraint) == ("content", "content_pkey")
    assert error.fields == ("id",)
    assert isinstance(error.__cause__, asyncpg.UniqueViolationError)
    assert "5ecret" not in str(error)
    assert (await content.get("c1")).title == "Il faro"


async def test_a_savepoint_keeps_the_outer_transaction_usable(clone: DatabaseEngine):
    async with clone.transaction():
        await add_contents("a")
        with pytest.raises(Conflict):
            async with clone.transaction():
                await add_contents("b")
                await add_contents("a")
        await add_contents("c")
    assert [row.id async for row in content.stream()] == ["a", "c"]


async def test_an_error_without_a_savepoint_aborts_the_transaction(clone: DatabaseEngine):
    with pytest.raises(TransactionAborted):
        async with clone.transaction():
            await add_contents("a")
            with pytest.raises(Conflict):
                await add_contents("a")
            await add_contents("b")
    assert await content.count() == 0


async def test_defaults_of_the_database_are_in_the_row(db: DatabaseEngine):
    row = await sessions.add(ListeningSessionCreate())
    assert row.content_ids == []
    assert row.current_content_id is None
    assert row.started_at == row.last_activity_at == row.created_at == row.updated_at
    later = await sessions.add(ListeningSessionCreate())
    assert later.id > row.id, "keys of our own making sort by time"


async def test_add_many_returns_rows_in_the_given_order(db: DatabaseEngine):
    assert [row.id for row in await add_contents("b", "a", "d", "c")] == ["b", "a", "d", "c"]
    assert await content.add_many([]) == []
    assert await content.count() == 4


@pytest.mark.parametrize("ids", [("a", "b", "c1", "d"), ("a", "b", "a")])
async def test_add_many_adds_all_or_none(clone: DatabaseEngine, ids: tuple[str, ...]):
    await add_contents("c1")
    with pytest.raises(Conflict) as caught:
        await add_contents(*ids)
    assert caught.value.constraint == "content_pkey"
    assert [row.id async for row in content.stream()] == ["c1"]


async def test_of_concurrent_overlapping_batches_one_succeeds(clone: DatabaseEngine):
    ids = [f"s{number:03}" for number in range(500)]
    batches = [new_sessions(*(ids if number % 2 else reversed(ids))) for number in range(20)]
    results = await asyncio.gather(*map(sessions.add_many, batches), return_exceptions=True)
    assert Counter(type(result).__name__ for result in results) == {"list": 1, "Conflict": 19}
    assert await sessions.count() == 500


async def test_update_changes_only_the_passed_fields(db: DatabaseEngine):
    (before,) = await add_contents("c1", description="d", metadata={"a": 1}, quality_score=1)
    after = await content.update("c1", ContentUpdate(title="t", description=None, metadata=None))
    assert (after.title, after.description, after.metadata) == ("t", None, None)
    assert after.updated_at > before.updated_at
    unchanged = set(before.__struct_fields__) - {"title", "description", "metadata", "updated_at"}
    assert all(getattr(after, name) == getattr(before, name) for name in unchanged)
    assert await content.get("c1") == after


async def test_update_without_fields_writes_nothing(db: DatabaseEngine):
    (before,) = await add_contents("c1")
    assert await content.update("c1", ContentUpdate()) == before
    assert await content.get("c1") == before
    with pytest.raises(NotFound):
        await content.update("c2", ContentUpdate())
    with pytest.raises(NotFound):
        await content.update("c2", ContentUpdate(title="t"))


async def test_concurrent_updates_of_different_fields_all_survive(clone: DatabaseEngine):
    await add_contents("c1")
    await asyncio.gather(
        *(content.update("c1", ContentUpdate(title="t")) for _ in range(10)),
        *(content.update("c1", ContentUpdate(genre="g")) for _ in range(10)),
        *(content.update("c1", ContentUpdate(topic=None, duration=5)) for _ in range(10)),
    )
    row = await content.get("c1")
    assert (row.title, row.genre, row.topic, row.duration) == ("t", "g", None, 5)


async def test_delete_returns_whether_the_row_existed(db: DatabaseEngine):
    await sessions.add_many(new_sessions("s1", "s2"))
    assert await sessions.delete("s1")
    assert not await sessions.delete("s1")
    assert not await sessions.exists("s1")
    assert await sessions.exists("s2")


async def locked_out(lock: Lock, tries: Callable[[], Awaitable[T]], engine: DatabaseEngine) -> T:
    """What another task gets while this one holds the row s1 by the lock."""
    outside = contextvars.copy_context()
    async with engine.transaction():
        assert (await sessions.get("s1", lock=lock)).id == "s1"

        async def other() -> T:
            async with engine.transaction():
                return await tries()

        return await asyncio.create_task(other(), context=outside)


@pytest.mark.parametrize("lock", get_args(Lock))
async def test_a_lock_blocks_conflicting_locks(clone: DatabaseEngine, lock: Lock):
    await sessions.add_many(new_sessions("s1"))
    with pytest.raises(LockTimeout) as caught:
        await locked_out(lock, lambda: sessions.get("s1", lock="update nowait"), clone)
    assert caught.value.retry
    skipping = lambda: sessions.find("s1", lock="update skip locked")  # noqa: E731
    assert await locked_out(lock, skipping, clone) is None
    with pytest.raises(NotFound):
        await locked_out(lock, lambda: sessions.get("s1", lock="update skip locked"), clone)


async def test_compatible_locks_do_not_wait(clone: DatabaseEngine):
    await sessions.add_many(new_sessions("s1"))
    row = await sessions.get("s1")
    for lock in ("share", "no key update", "update"):
        assert await locked_out(lock, lambda: sessions.get("s1"), clone) == row
    assert await locked_out("share", lambda: sessions.get("s1", lock="share nowait"), clone) == row


async def refer_to(key: str, engine: DatabaseEngine) -> str | None:
    """What an insert of a row that refers to the session does first."""
    sql = "SELECT id FROM sessions WHERE id = $1 FOR KEY SHARE SKIP LOCKED"
    found: str | None = await engine.fetchval(sql, key)
    return found


async def test_no_key_update_allows_others_to_refer_to_the_row(clone: DatabaseEngine):
    await sessions.add_many(new_sessions("s1"))
    assert await locked_out("no key update", lambda: refer_to("s1", clone), clone) == "s1"
    assert await locked_out("update", lambda: refer_to("s1", clone), clone) is None


async def test_read_and_write_under_a_lock_lose_no_update(clone: DatabaseEngine):
    await sessions.add_many(new_sessions("s1"))

    async def add_one() -> None:
        async with clone.transaction():
            row = await sessions.get("s1", lock="no key update")
            changes = ListeningSessionUpdate(total_listening_time=row.total_listening_time + 1)
            await sessions.update("s1", changes)

    await asyncio.gather(*(add_one() for _ in range(30)))
    assert (await sessions.get("s1")).total_listening_time == 30


async def test_a_lock_needs_a_transaction(clone: DatabaseEngine):
    for key in ("s1", "s\0"):
        with pytest.raises(TransactionRequired):
            await sessions.get(key, lock="update")
    with pytest.raises(TransactionRequired, match=r"inside `async with DB.transaction\(\):`"):
        await sessions.find("s1", lock="share skip locked")


@pytest.mark.parametrize("lock", ["", "UPDATE", "update; DROP TABLE sessions", True, 5])
async def test_unknown_locks_are_rejected(db: DatabaseEngine, lock: Any):
    with pytest.raises(InvalidValue) as caught:
        await sessions.find("s1", lock=lock)
    assert caught.value.fields == ("lock",)


def test_add_many_locks_the_rows_of_several_foreign_keys_to_one_table():
    class QuoteTable(SchemaTable, Table, tablename="test_quotes"):
        id = Varchar(255, primary_key=True, default=None)
        session_id = Reference(ListeningSessionTable, "fk_quotes_session", OnDelete.cascade)
        content_id = Reference(ContentTable, "fk_quotes_content", OnDelete.cascade)
        source_id = Reference(ContentTable, "fk_quotes_source", OnDelete.cascade)

    names = [[column._meta.name for column in columns] for columns in locked_references(QuoteTable)]
    assert names == [["content_id", "source_id"], ["session_id"]]
