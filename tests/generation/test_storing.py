"""Storing of generated content, in the session and with its job, in one transaction."""

import pytest

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import Conflict, InvalidTransition, InvalidValue, NotFound
from learner_app.generation.repositories import GenerationRepository
from learner_app.listening.repositories import ListeningSessionRepository
from tests.content.factories import add_contents, new_content
from tests.generation.factories import add_jobs, add_sessions

jobs = GenerationRepository()
sessions = ListeningSessionRepository()
contents = ContentRepository()


@pytest.fixture
async def session(db: DatabaseEngine) -> str:
    """The session s1 with the job g1, and the session s2. Returns s1."""
    await add_sessions("s1", "s2")
    await add_jobs("g1")
    return "s1"


async def state() -> tuple[object, ...]:
    rows = [row async for row in sessions.stream()], [row async for row in jobs.stream()]
    return await contents.count(), *rows


async def test_content_is_stored_for_its_session(session: str):
    await jobs.claim_next()
    content = await jobs.store_for_session(session, new_content("a"), "g1")
    assert await contents.get("a") == content
    assert (await sessions.get(session)).content_ids == ["a"]
    assert await jobs.get_with_content("g1") == (await jobs.get("g1"), content)
    before = await state()
    assert await jobs.store_for_session(session, new_content("a"), "g1") == content
    assert await state() == before, "the same call again"


async def test_content_is_stored_without_a_job(session: str):
    await add_contents("a", "b")
    await jobs.store_for_session(session, new_content("c"))
    await jobs.store_for_session(session, new_content("a"))
    assert (await sessions.get(session)).content_ids == ["c", "a"]
    assert (await jobs.get("g1")).status == "generating"


async def test_rejected_content_changes_nothing(session: str):
    await jobs.store_for_session(session, new_content("a"), "g1")
    await add_jobs("g2", session_id="s2")
    await add_jobs("g3")
    await jobs.fail("g3", "no")
    before = await state()
    content, nobodys = new_content("b"), new_content("b", session_id="nobody")
    refused = [
        (InvalidTransition, "generation_status", jobs.store_for_session(session, content, "g1")),
        (InvalidTransition, "generation_status", jobs.store_for_session(session, content, "g3")),
        (InvalidValue, "generation_status", jobs.store_for_session(session, content, "g2")),
        (InvalidValue, "content", jobs.store_for_session("s2", content)),
        (NotFound, "generation_status", jobs.store_for_session(session, content, "nothing")),
        (NotFound, "generation_status", jobs.store_for_session(session, content, "g\0")),
        (NotFound, "sessions", jobs.store_for_session("nobody", nobodys, "g1")),
        (
            Conflict,
            "content",
            jobs.store_for_session(session, new_content("a", title="Another"), "g1"),
        ),
    ]
    for error, table, call in refused:
        with pytest.raises(error) as caught:
            await call
        assert caught.value.table == table
        assert await state() == before, "the caller's transaction must remain usable"


async def test_a_failure_while_storing_rolls_everything_back(
    clone: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
):
    await add_sessions("s1")
    await add_jobs("g1")
    before = await state()
    complete = jobs.complete

    async def complete_and_die(*args: str) -> None:
        await complete(*args)
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(jobs, "complete", complete_and_die)
        with pytest.raises(ZeroDivisionError):
            await jobs.store_for_session("s1", new_content("a"), "g1")
    assert await state() == before
    await jobs.store_for_session("s1", new_content("a"), "g1")
    assert (await jobs.get("g1")).content_id == "a"


async def test_storing_is_rolled_back_with_the_callers_transaction(clone: DatabaseEngine):
    await add_sessions("s1")
    await add_jobs("g1")
    before = await state()
    with pytest.raises(ZeroDivisionError):
        async with clone.transaction():
            await jobs.store_for_session("s1", new_content("a"), "g1")
            raise ZeroDivisionError
    assert await state() == before


async def test_storing_uses_the_engine_of_the_repository(clone: DatabaseEngine):
    await add_sessions("s1")
    mine = GenerationRepository(clone)
    assert (await mine.store_for_session("s1", new_content("a"))).id == "a"


async def test_storing_again_does_not_restore_removed_content(session: str):
    new = new_content("c1", session_id=session)
    stored = await jobs.store_for_session(session, new, "g1")
    await sessions.remove_content(session, "c1")
    assert await jobs.store_for_session(session, new, "g1") == stored
    assert (await sessions.get(session)).content_ids == []


async def test_completing_again_after_the_content_was_deleted_changes_nothing(session: str):
    await add_contents("c1", "c2")
    await jobs.complete("g1", "c1")
    await sessions.delete_content("c1")
    assert (await jobs.complete("g1", "c1")).content_id is None
    with pytest.raises(InvalidTransition):
        await jobs.complete("g1", "c2")
