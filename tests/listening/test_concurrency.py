"""Concurrent operations on the same sessions and contents while events are recorded."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    DatabaseError,
    InvalidValue,
    MissingReference,
    NotFound,
    TransactionError,
)
from learner_app.learner.repositories import LearnerModelStateRepository
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import LikeKey
from tests.content.factories import add_contents, new_content
from tests.listening.factories import ensure_sessions, event, new_event

sessions = ListeningSessionRepository()
events, likes = BehavioralEventRepository(), LikeRepository()
CONTENTS = [f"c{n}" for n in range(5)]
SESSIONS = [f"s{n}" for n in range(4)]


@pytest.fixture
async def listening(clone: DatabaseEngine) -> None:
    await add_contents(*CONTENTS)
    await ensure_sessions(*SESSIONS)
    for session in SESSIONS:
        await sessions.append_many(session, CONTENTS[:3], make_current=True)


async def repeated(times: int, *calls: Callable[[], Awaitable[Any]]) -> Counter[str]:
    """Repeat each call, concurrently with the others, and count the errors by class."""
    outcomes: Counter[str] = Counter()

    async def repeat(call: Callable[[], Awaitable[Any]]) -> None:
        for _ in range(times):
            try:
                await call()
            except DatabaseError as error:
                outcomes[type(error).__name__] += 1
            else:
                outcomes["done"] += 1

    await asyncio.gather(*(repeat(call) for call in calls))
    return outcomes


async def test_a_session_can_be_changed_while_its_events_are_recorded(listening: None):
    """The foreign keys of the events lock the session's row, which must not block its changes."""
    number = iter(range(10**6))

    def changes() -> list[Callable[[], Awaitable[Any]]]:
        return [
            lambda: sessions.append_content("s0", random.choice(CONTENTS), make_current=True),
            lambda: sessions.move_next("s0"),
            lambda: sessions.move_previous("s0"),
            lambda: sessions.remove_content("s0", random.choice(CONTENTS)),
            lambda: sessions.touch("s0"),
            lambda: events.record(new_event(f"r{next(number)}", content_id="c0", session_id="s0")),
            lambda: events.record_batch(
                [event(f"b{next(number)}", content_id="c1", session_id="s0") for _ in range(5)],
                ensure_sessions=True,
            ),
        ]

    outcomes = await repeated(25, *changes(), *changes(), *changes())
    assert outcomes == {"done": 25 * 21}


async def test_concurrent_changes_leave_lists_consistent(listening: None):
    number = iter(range(10**6))

    async def batch() -> None:
        batch_of_events = [
            event(f"b{next(number)}", content_id=random.choice(CONTENTS), session_id=session)
            for session in SESSIONS
        ]
        await events.record_batch(batch_of_events, ensure_sessions=True)

    async def add_many() -> None:
        pairs = [(content_id, session) for content_id in CONTENTS for session in SESSIONS]
        random.shuffle(pairs)
        await events.add_many(
            [
                new_event(f"a{next(number):06}", content_id=content_id, session_id=session)
                for content_id, session in pairs
            ]
        )

    async def delete_content() -> None:
        content_id = random.choice(CONTENTS)
        await sessions.delete_content(content_id)
        with suppress(DatabaseError):
            await add_contents(content_id)

    async def delete_session() -> None:
        session = random.choice(SESSIONS)
        await sessions.delete(session)
        await sessions.get_or_create(session)

    def any_session() -> str:
        return random.choice(SESSIONS)

    outcomes = await repeated(
        20,
        batch,
        add_many,
        delete_content,
        delete_session,
        *[
            lambda: sessions.append_content(
                any_session(), random.choice(CONTENTS), make_current=True
            )
        ]
        * 4,
        *[lambda: sessions.move_next(any_session())] * 4,
        *[lambda: sessions.remove_content(any_session(), random.choice(CONTENTS))] * 2,
        *[lambda: likes.toggle(LikeKey(random.choice(CONTENTS), any_session()))] * 2,
    )
    assert set(outcomes) <= {"done", "NotFound", "MissingReference", "Conflict"}
    assert outcomes["done"] > 100
    async for row in sessions.stream():
        existing = [content.id for content in await sessions.list_content(row.id)]
        assert row.content_ids == existing
        assert len(set(existing)) == len(existing)
        assert row.current_content_id in {*existing, None}


async def test_delete_content_rejects_transactions_with_an_old_snapshot(
    clone: DatabaseEngine, listening: None
):
    for isolation in ("repeatable read", "serializable"):
        with pytest.raises(TransactionError):
            async with clone.transaction(isolation=isolation):
                await sessions.delete_content("c0")
        with pytest.raises(TransactionError):  # the content may have been added after the snapshot
            async with clone.transaction(isolation=isolation):
                await sessions.delete_content("nothing")
    assert (await sessions.get("s0")).content_ids == CONTENTS[:3]


async def test_listening_time_is_added_to_a_session_that_is_deleted_and_created_again(
    listening: None,
):
    async def create_again() -> None:
        await sessions.delete("s0")
        await sessions.get_or_create("s0")

    outcomes = await repeated(100, create_again, lambda: sessions.add_listening_time("s0", 3))
    assert set(outcomes) <= {"done", "NotFound"}


async def test_sessions_of_a_batch_exist_despite_concurrent_deletion(listening: None):
    number = iter(range(10**6))
    failed = []

    async def batch() -> None:
        new_events = [event(f"b{next(number)}", content_id="c0", session_id="new")]
        failed.extend((await events.record_batch(new_events, ensure_sessions=True)).failed)

    outcomes = await repeated(50, batch, batch, lambda: sessions.delete("new"))
    assert outcomes == {"done": 150}
    assert not failed


async def test_a_text_instead_of_a_list_and_an_input_of_another_table_are_invalid(listening: None):
    wrong: list[Callable[[], Awaitable[Any]]] = [
        lambda: sessions.get_many("s0"),
        lambda: sessions.append_many("s0", "c0"),
        lambda: sessions.append_many("s0", iter(["c0"])),
        lambda: events.list_for_session("s0", types="play"),
        lambda: events.list_for_session(None),
        lambda: events.list_for_content(None),
        lambda: events.record_batch({"id": "e1"}),
        lambda: events.record_batch(None),
        lambda: events.ingest([]),
        lambda: LearnerModelStateRepository().fold("s0", None),
        lambda: events.engagement_for_contents("c0"),
        lambda: likes.map_for_contents("s0", "c0"),
        lambda: sessions.add(new_content("x")),
        lambda: sessions.add(None),
        lambda: sessions.add_many([{"id": "s9"}]),
        lambda: sessions.update("s0", new_content("x")),
        lambda: events.record({"id": "e1"}),
    ]
    for call in wrong:
        with pytest.raises(InvalidValue) as caught:
            await call()
        assert caught.value.fields
    assert await sessions.count() == len(SESSIONS)


async def test_json_changed_to_nan_after_validation_is_rejected(listening: None):
    changed = new_event("e1", content_id="c0", session_id="s0", context={"a": 1})
    assert changed.context is not None
    changed.context["a"] = float("nan")
    with pytest.raises(InvalidValue) as caught:
        await events.add(changed)
    assert caught.value.fields == ("context",)
    good = new_event("e2", content_id="c0", session_id="s0")
    result = await events.record_batch([changed, good])
    assert (result.recorded, [failure.index for failure in result.failed]) == (1, [0])


async def test_missing_references_of_add_many_name_the_field(listening: None):
    valid = [new_event(f"e{n}", content_id="c0", session_id="s0") for n in range(3)]
    invalid = new_event("e9", content_id="c0", session_id="nobody")
    with pytest.raises(MissingReference) as caught:
        await events.add_many([*valid, invalid])
    assert caught.value.fields == ("session_id",)
    with pytest.raises(NotFound):
        await events.get("e0")


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["record_batch", "ingest"])
async def test_a_batch_locks_content_before_it_creates_sessions(
    clone: DatabaseEngine, listening: None, operation: str
):
    """A transaction that locks content first and a session second does not deadlock with it."""
    content_is_locked = asyncio.Event()
    new_event = event("e1", content_id="c0", session_id="new")

    async def source() -> AsyncIterator[dict[str, Any]]:
        yield new_event

    async def record() -> int:
        await content_is_locked.wait()
        if operation == "ingest":
            return (await events.ingest(source(), ensure_sessions=True)).recorded
        return (await events.record_batch([new_event], ensure_sessions=True)).recorded

    recording = asyncio.create_task(record())  # outside the transaction, which tasks inherit
    async with clone.transaction():
        await ContentRepository().get("c0", lock="update")
        content_is_locked.set()
        # After deadlock_timeout, PostgreSQL reports a deadlock to this transaction.
        await asyncio.sleep(1.2)
        _, created = await sessions.get_or_create("new")
    assert created
    assert await recording == 1
