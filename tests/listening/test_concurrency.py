"""Operations on the same sessions and pieces at once, with events being recorded beside them."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

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
PIECES = [f"c{n}" for n in range(5)]
SESSIONS = [f"s{n}" for n in range(4)]


@pytest.fixture
async def listening(clone: DatabaseEngine) -> None:
    await add_contents(*PIECES)
    await ensure_sessions(*SESSIONS)
    for session in SESSIONS:
        await sessions.append_many(session, PIECES[:3], make_current=True)


async def repeated(times: int, *calls: Callable[[], Awaitable[Any]]) -> Counter[str]:
    """Each call that often, all at once; by the kind of error, or ``done``."""
    told: Counter[str] = Counter()

    async def often(call: Callable[[], Awaitable[Any]]) -> None:
        for _ in range(times):
            try:
                await call()
            except DatabaseError as error:
                told[type(error).__name__] += 1
            else:
                told["done"] += 1

    await asyncio.gather(*(often(call) for call in calls))
    return told


async def test_a_session_changes_while_its_events_are_recorded(listening: None):
    """Foreign keys hold the session's row all the time, which must not be in the way."""
    number = iter(range(10**6))

    def changes() -> list[Callable[[], Awaitable[Any]]]:
        return [
            lambda: sessions.append_content("s0", random.choice(PIECES), make_current=True),
            lambda: sessions.move_next("s0"),
            lambda: sessions.move_previous("s0"),
            lambda: sessions.remove_content("s0", random.choice(PIECES)),
            lambda: sessions.touch("s0"),
            lambda: events.record(new_event(f"r{next(number)}", content_id="c0", session_id="s0")),
            lambda: events.record_batch(
                [event(f"b{next(number)}", content_id="c1", session_id="s0") for _ in range(5)],
                ensure_sessions=True,
            ),
        ]

    told = await repeated(25, *changes(), *changes(), *changes())
    assert told == {"done": 25 * 21}


async def test_all_kinds_of_changes_leave_lists_whole(listening: None):
    number = iter(range(10**6))

    async def batch() -> None:
        given = [
            event(f"b{next(number)}", content_id=random.choice(PIECES), session_id=session)
            for session in SESSIONS
        ]
        await events.record_batch(given, ensure_sessions=True)

    async def add_many() -> None:
        pairs = [(piece, session) for piece in PIECES for session in SESSIONS]
        random.shuffle(pairs)
        await events.add_many(
            [
                new_event(f"a{next(number):06}", content_id=piece, session_id=session)
                for piece, session in pairs
            ]
        )

    async def delete_content() -> None:
        piece = random.choice(PIECES)
        await sessions.delete_content(piece)
        with suppress(DatabaseError):
            await add_contents(piece)

    async def delete_session() -> None:
        session = random.choice(SESSIONS)
        await sessions.delete(session)
        await sessions.get_or_create(session)

    def one() -> str:
        return random.choice(SESSIONS)

    told = await repeated(
        20,
        batch,
        add_many,
        delete_content,
        delete_session,
        *[lambda: sessions.append_content(one(), random.choice(PIECES), make_current=True)] * 4,
        *[lambda: sessions.move_next(one())] * 4,
        *[lambda: sessions.remove_content(one(), random.choice(PIECES))] * 2,
        *[lambda: likes.toggle(LikeKey(random.choice(PIECES), one()))] * 2,
    )
    assert set(told) <= {"done", "NotFound", "MissingReference", "Conflict"}
    assert told["done"] > 100
    async for row in sessions.stream():
        there = [piece.id for piece in await sessions.list_content(row.id)]
        assert row.content_ids == there
        assert len(set(there)) == len(there)
        assert row.current_content_id in {*there, None}


async def test_delete_content_refuses_transactions_with_an_old_snapshot(
    clone: DatabaseEngine, listening: None
):
    for isolation in ("repeatable read", "serializable"):
        with pytest.raises(TransactionError):
            async with clone.transaction(isolation=isolation):
                await sessions.delete_content("c0")
        with pytest.raises(TransactionError):  # it may have been added after the snapshot
            async with clone.transaction(isolation=isolation):
                await sessions.delete_content("nothing")
    assert (await sessions.get("s0")).content_ids == PIECES[:3]


async def test_time_is_added_to_a_session_that_is_made_anew(listening: None):
    async def anew() -> None:
        await sessions.delete("s0")
        await sessions.get_or_create("s0")

    told = await repeated(100, anew, lambda: sessions.add_listening_time("s0", 3))
    assert set(told) <= {"done", "NotFound"}


async def test_sessions_of_a_batch_are_there_whoever_deletes_them(listening: None):
    number = iter(range(10**6))
    failed = []

    async def batch() -> None:
        given = [event(f"b{next(number)}", content_id="c0", session_id="new")]
        failed.extend((await events.record_batch(given, ensure_sessions=True)).failed)

    told = await repeated(50, batch, batch, lambda: sessions.delete("new"))
    assert told == {"done": 150}
    assert not failed


async def test_texts_are_no_lists_and_inputs_are_of_their_table(listening: None):
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


async def test_json_that_was_changed_after_it_was_checked(listening: None):
    spoiled = new_event("e1", content_id="c0", session_id="s0", context={"a": 1})
    assert spoiled.context is not None
    spoiled.context["a"] = float("nan")
    with pytest.raises(InvalidValue) as caught:
        await events.add(spoiled)
    assert caught.value.fields == ("context",)
    good = new_event("e2", content_id="c0", session_id="s0")
    result = await events.record_batch([spoiled, good])
    assert (result.recorded, [failure.index for failure in result.failed]) == (1, [0])


async def test_missing_references_of_many_name_the_field(listening: None):
    given = [new_event(f"e{n}", content_id="c0", session_id="s0") for n in range(3)]
    lost = new_event("e9", content_id="c0", session_id="nobody")
    with pytest.raises(MissingReference) as caught:
        await events.add_many([*given, lost])
    assert caught.value.fields == ("session_id",)
    with pytest.raises(NotFound):
        await events.get("e0")
