"""Auth sessions: tokens, expiry and closing."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from learner_app.accounts import auth_sessions
from learner_app.accounts.repositories import AuthSessionRepository, UserRepository
from learner_app.accounts.tokens import new_token, token_hash
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, MissingReference
from learner_app.repository.sql import Statement
from tests.accounts.factories import HOUR, PASSWORD, registered

sessions, users = AuthSessionRepository(), UserRepository()
DAY = timedelta(days=1)
NO_TOKENS: list[Any] = ["", "x" * 43, "x" * 44, "\0", "\ud800", "x" * 100_000, 5, None, b"x" * 43]


def test_tokens_are_256_random_bits():
    tokens = {new_token().get_secret_value() for _ in range(1000)}
    assert len(tokens) == 1000
    assert {len(token) for token in tokens} == {43}
    hashed = token_hash(next(iter(tokens)))
    assert hashed is not None
    assert len(hashed) == 64


async def test_a_token_is_returned_once_and_stored_as_a_hash(db: DatabaseEngine):
    user = await registered()
    opened = await sessions.open(user.id, HOUR, ip_address="2001:db8::0:1", user_agent="b" * 600)
    token = opened.token.get_secret_value()
    assert (opened.session.ip_address, opened.session.user_agent) == ("2001:db8::1", "b" * 500)
    found = await sessions.resolve(token)
    assert found == (opened.session, user)
    assert await sessions.resolve(opened.token) == found
    record = await db.fetchrow("SELECT * FROM auth_sessions")
    assert token not in str(record)
    assert record["token_hash"] == token_hash(token)
    assert await sessions.resolve(record["token_hash"]) is None
    for wrong in NO_TOKENS:
        assert await sessions.resolve(wrong) is None
        assert await sessions.extend(wrong, HOUR) is None
        assert not await sessions.close(wrong)
        assert await sessions.close_all(uuid4(), keep_token=wrong or "") == 0


@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("ttl", {"ttl": timedelta(0)}),
        ("ttl", {"ttl": timedelta(days=4000)}),
        ("ttl", {"ttl": 3600}),
        ("ip_address", {"ip_address": "testclient"}),
        ("ip_address", {"ip_address": 5}),
    ],
)
async def test_a_session_with_invalid_arguments_is_rejected(
    db: DatabaseEngine, field: str, given: dict[str, Any]
):
    user = await registered()
    for call in (
        sessions.open(user.id, **{"ttl": HOUR, **given}),
        sessions.sign_in(user.email, PASSWORD, **{"ttl": HOUR, **given}),
    ):
        with pytest.raises(InvalidValue) as caught:
            await call
        assert caught.value.fields == (field,)


@pytest.mark.parametrize("nobody", [uuid4(), "x", None])
async def test_unknown_users_have_no_session(db: DatabaseEngine, nobody: Any):
    with pytest.raises(MissingReference) as caught:
        await sessions.open(nobody, HOUR)
    assert caught.value.fields == ("user_id",)
    assert await sessions.list_for_user(nobody) == []
    assert await sessions.close_all(nobody) == 0
    assert not await sessions.close_device(nobody, nobody)


async def test_malformed_user_agents_do_not_prevent_signing_in(db: DatabaseEngine):
    user = await registered()
    for agent, stored in (("a\0b\ud800", "ab?"), ("", ""), (None, None)):
        opened = await sessions.open(user.id, HOUR, user_agent=agent)
        assert opened.session.user_agent == stored


async def test_signing_in_needs_the_right_password(db: DatabaseEngine):
    user = await registered()
    opened = await sessions.sign_in(" ANNA@example.com", PASSWORD, HOUR, ip_address="192.0.2.1")
    assert opened is not None
    assert await sessions.resolve(opened.token) == (opened.session, user)
    assert await sessions.sign_in(user.email, "wrong-pass-1", HOUR) is None
    assert await sessions.sign_in("nobody@example.com", PASSWORD, HOUR) is None
    assert await sessions.count(user_id=user.id) == 1


async def test_a_session_expires_by_the_clock_of_the_database(db: DatabaseEngine, monkeypatch):
    user = await registered()
    opened = await sessions.open(user.id, HOUR)
    resolve = auth_sessions.RESOLVE

    def at(time: str) -> Statement:
        return replace(
            resolve, sql=resolve.sql.replace("statement_timestamp()", f"timestamptz '{time}'")
        )

    end = opened.session.expires_at
    monkeypatch.setattr(auth_sessions, "RESOLVE", at(str(end - timedelta(microseconds=1))))
    assert await sessions.resolve(opened.token) is not None
    monkeypatch.setattr(auth_sessions, "RESOLVE", at(str(end)))
    assert await sessions.resolve(opened.token) is None


async def test_expired_sessions_are_treated_as_missing(db: DatabaseEngine):
    user = await registered()
    opened = await sessions.open(user.id, HOUR)
    await db.execute("UPDATE auth_sessions SET expires_at = clock_timestamp()")
    assert await sessions.resolve(opened.token) is None
    assert await sessions.extend(opened.token, HOUR) is None
    assert await sessions.list_for_user(user.id) == []


async def test_extending_writes_once_a_day_at_most(db: DatabaseEngine):
    user = await registered()
    opened = await sessions.open(user.id, 10 * DAY)
    assert await sessions.extend(opened.token, 30 * DAY) == opened.session
    await db.execute("ALTER TABLE auth_sessions DISABLE TRIGGER auth_sessions_touch_updated_at")
    await db.execute("UPDATE auth_sessions SET updated_at = updated_at - interval '1 day 1 second'")
    await db.execute("ALTER TABLE auth_sessions ENABLE TRIGGER auth_sessions_touch_updated_at")
    longer = await sessions.extend(opened.token, 30 * DAY)
    assert longer is not None
    assert abs(longer.expires_at - datetime.now(UTC) - 30 * DAY) < timedelta(minutes=1)
    assert await sessions.extend(opened.token, 60 * DAY) == longer


async def test_extending_never_shortens_a_session(db: DatabaseEngine):
    user = await registered()
    opened = await sessions.open(user.id, 10 * DAY)
    await db.execute("ALTER TABLE auth_sessions DISABLE TRIGGER auth_sessions_touch_updated_at")
    await db.execute("UPDATE auth_sessions SET updated_at = updated_at - interval '2 days'")
    session = await sessions.extend(opened.token, HOUR)
    assert session is not None
    assert session.expires_at == opened.session.expires_at


async def test_closing_deletes_the_named_sessions_only(db: DatabaseEngine):
    user, other = await registered(), await registered("b@example.com")
    one, two, three = [await sessions.open(user.id, HOUR) for _ in range(3)]
    foreign = await sessions.open(other.id, HOUR)
    assert [row.id for row in await sessions.list_for_user(user.id, limit=2)] == [
        three.session.id,
        two.session.id,
    ]
    assert not await sessions.close_device(user.id, foreign.session.id)
    assert await sessions.close_device(user.id, three.session.id)
    assert await sessions.close(one.token)
    assert not await sessions.close(one.token)
    await sessions.open(user.id, HOUR)
    assert await sessions.close_all(user.id, keep_token=two.token) == 1
    assert await sessions.close_all(user.id, keep_token=foreign.token) == 1
    assert await sessions.resolve(foreign.token) is not None


async def test_expired_sessions_are_purged_in_batches(clone: DatabaseEngine):
    user = await registered()
    for _ in range(7):
        await sessions.open(user.id, HOUR)
    await clone.execute("UPDATE auth_sessions SET expires_at = now()")
    kept = await sessions.open(user.id, HOUR)
    counts = [await sessions.purge_expired(batch=3) for _ in range(4)]
    assert counts == [3, 3, 1, 0]
    assert [row async for row in sessions.stream()] == [kept.session]
    for _ in range(9):
        await sessions.open(user.id, HOUR)
    await clone.execute("UPDATE auth_sessions SET expires_at = now()")
    assert sum(await asyncio.gather(*(sessions.purge_expired(batch=4) for _ in range(4)))) >= 9


async def test_a_token_is_found_by_one_indexed_query(db: DatabaseEngine):
    user = await registered()
    await db.execute(
        "INSERT INTO auth_sessions (user_id, token_hash, expires_at)"
        " SELECT $1, md5(n::text), now() + interval '1 day' FROM generate_series(1, 3000) AS n",
        user.id,
    )
    await db.execute("ANALYZE auth_sessions")
    plan = str(await db.fetch(f"EXPLAIN {auth_sessions.RESOLVE.sql}", "x"))
    assert "auth_sessions_token_hash_key" in plan
    assert "Seq Scan on auth_sessions" not in plan
