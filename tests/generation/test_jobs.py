"""Jobs: creation, changes and filters."""

from datetime import timedelta
from typing import Any

import pytest

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    Conflict,
    InvalidValue,
    MissingReference,
    TransactionError,
)
from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import GenerationCreate, GenerationUpdate
from tests.content.factories import add_contents
from tests.generation.factories import LONG_AGO, add_as_is, add_jobs, add_sessions, new_job

jobs = GenerationRepository()
HOUR = timedelta(hours=1)


@pytest.fixture
async def session(db: DatabaseEngine) -> str:
    """The sessions s1 and s2, and the contents a and b. Returns s1."""
    await add_sessions("s1", "s2")
    await add_contents("a", "b")
    return "s1"


async def test_a_new_job_is_waiting(session: str):
    job = await jobs.add(
        GenerationCreate(
            session_id=session, webhook_url="https://a.example/x?y=1", estimated_completion_time=90
        )
    )
    assert await jobs.get(job.generation_id) == job
    assert (job.status, job.content_id, job.completed_at) == ("generating", None, None)
    assert (job.webhook_url, job.webhook_sent) == ("https://a.example/x?y=1", False)
    assert job.estimated_completion_time == 90
    assert job.started_at.utcoffset() == timedelta()


async def test_a_duplicate_id_or_unknown_session_is_rejected(session: str, db: DatabaseEngine):
    await add_jobs("g1")
    with pytest.raises(Conflict):
        async with db.transaction():
            await jobs.add(new_job("g1"))
    with pytest.raises(MissingReference) as caught:
        async with db.transaction():
            await jobs.add(new_job("g2", "nobody"))
    assert caught.value.fields == ("session_id",)
    assert await jobs.count() == 1, "the caller's transaction remains usable"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("generation_id", ""),
        ("generation_id", "x" * 256),
        ("session_id", "s\0"),
        ("session_id", None),
        ("estimated_completion_time", -1),
        ("estimated_completion_time", 2**31),
        ("status", "completed"),
        ("webhook_sent", True),
        ("started_at", LONG_AGO),
        *(("webhook_url", url) for url in ("", "ftp://a.example/", "a.example", "https://", 1)),
        *(("webhook_url", f"http://a.example/{end}") for end in ("x" * 984, "\0", "\n", " ", "\t")),
        *(("webhook_url", url) for url in ("http:\\\\a.example", "http://a:b", "http:a.example")),
        *(("webhook_url", url) for url in (" http://a.example", "javascript:http://a.example")),
    ],
)
def test_invalid_fields_of_a_job_are_rejected(field: str, value: object):
    for kind in (GenerationCreate, GenerationUpdate):
        with pytest.raises(InvalidValue) as caught:
            kind(**{"session_id": "s1"} | {field: value})
        assert field in caught.value.fields


def test_webhook_urls_are_stored_unchanged():
    longest = f"http://a.example/{'x' * 983}"
    for url in ("HTTPS://A.example", "http://user:word@[::1]:80/a%20b#c", longest):
        assert new_job(webhook_url=url).webhook_url == url


async def test_a_job_is_changed_and_deleted(session: str):
    await add_jobs("g1", webhook_url="http://a.example")
    job = await jobs.update("g1", GenerationUpdate(webhook_url=None, estimated_completion_time=5))
    assert (job.webhook_url, job.estimated_completion_time) == (None, 5)
    assert await jobs.delete("g1")
    assert not await jobs.delete("g1")


async def test_pages_streams_and_counts_apply_the_filters(session: str):
    await add_as_is("g1", status="completed", content_id="a", started_at=LONG_AGO + HOUR)
    await add_as_is("g2", status="failed", webhook_sent=True)
    await add_as_is("g3", session_id="s2")

    async def found(**filters: Any) -> list[str]:
        page = await jobs.page(total="exact", **filters)
        ids = [job.generation_id for job in page.rows]
        assert ids == [job.generation_id async for job in jobs.stream(**filters)]
        assert len(ids) == page.total == await jobs.count(**filters)
        assert page.rows == await jobs.list(**filters)
        if filters:
            assert await jobs.exists(**filters) == bool(ids)
        return ids

    assert await found() == ["g1", "g2", "g3"]
    assert await found(session_id="s2") == ["g3"]
    assert await found(content_id="a") == ["g1"]
    assert await found(status="failed") == ["g2"]
    assert await found(webhook_sent=False) == ["g1", "g3"]
    assert await found(started_since=LONG_AGO + HOUR) == ["g1"]
    assert await found(started_until=LONG_AGO + HOUR, session_id="s1") == ["g2"]
    assert await found(started_until=LONG_AGO, session_id="s1") == []
    first = await jobs.page(limit=2)
    assert [job.generation_id for job in (await jobs.page(after=first.next)).rows] == ["g3"]
    with pytest.raises(InvalidValue):
        await jobs.count(status="done")


async def test_a_job_is_created_only_if_none_is_active(session: str):
    first = await jobs.get_or_create_active(new_job("g1"))
    again = await jobs.get_or_create_active(new_job("g2"))
    assert (first.created, again.created) == (True, False)
    assert first.row == again.row
    await jobs.claim_next()
    assert not (await jobs.get_or_create_active(new_job("g2"))).created
    assert (await jobs.get_or_create_active(new_job("g3", "s2"))).created
    await jobs.fail("g1", "no")
    assert (await jobs.get_or_create_active(new_job("g2"))).row.generation_id == "g2"
    await add_as_is("g0")
    found, created = await jobs.get_or_create_active(new_job("g4"))
    assert (found.generation_id, created) == ("g2", False), "it must be the newest one"


async def test_get_or_create_active_rejects_unknown_sessions_and_used_ids(
    session: str, db: DatabaseEngine
):
    with pytest.raises(MissingReference) as caught:
        await jobs.get_or_create_active(new_job("g1", "nobody"))
    assert (caught.value.fields, caught.value.table) == (("session_id",), "generation_status")
    await add_as_is("g1", status="failed")
    with pytest.raises(Conflict):
        await jobs.get_or_create_active(new_job("g1"))
    assert await jobs.count() == 1, "the caller's transaction remains usable"


async def test_get_or_create_active_rejects_older_snapshots(clone: DatabaseEngine):
    await add_sessions("s1")
    for isolation in ("repeatable read", "serializable"):
        with pytest.raises(TransactionError):
            async with clone.transaction(isolation=isolation):
                await jobs.get_or_create_active(new_job())


@pytest.mark.parametrize("name", ["update_where", "delete_where", "upsert"])
def test_writes_that_bypass_claims_are_left_out(name: str):
    assert not hasattr(jobs, name)
