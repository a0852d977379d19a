"""Query plans with tens of thousands of users: few operations scan a whole table."""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from learner_app.accounts.repositories import (
    AccountRepository,
    AuthSessionRepository,
    UserRepository,
    VerificationRepository,
)
from learner_app.accounts.rows import UserCreate, UserUpdate
from learner_app.database.engine import DatabaseEngine
from tests.accounts.factories import HOUR, PASSWORD

users, accounts = UserRepository(), AccountRepository()
sessions, codes = AuthSessionRepository(), VerificationRepository()
CODE_OF = "reset-password:anna@example.com"

FILL = """
INSERT INTO users (id, email, hashed_password, name, created_at)
SELECT md5('u' || n)::uuid, 'user' || n || '@example.com', '!', 'Persona ' || n,
       timestamptz '2026-01-01+00' + n * interval '1 minute' FROM generate_series(1, 30000) AS n;
INSERT INTO accounts (user_id, provider_id, account_id)
SELECT id, 'credential', id::text FROM users;
INSERT INTO auth_sessions (user_id, token_hash, expires_at)
SELECT id, md5(id::text), now() + interval '1 day' FROM users;
INSERT INTO verifications (identifier, value_hash, expires_at)
SELECT 'reset-password:' || email, md5(email), now() + interval '1 hour' FROM users;
ANALYZE
"""


@pytest.fixture
async def sent(
    clone: DatabaseEngine, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[tuple[str, tuple[Any, ...]]]]:
    """Statements sent by the repositories, with their parameters."""
    async with clone.connection() as connection:
        await connection.execute(FILL)
    statements: list[tuple[str, tuple[Any, ...]]] = []

    def noted(method: Callable[..., Any]) -> Callable[..., Any]:
        async def note(engine: DatabaseEngine, sql: str, *args: Any, **options: Any) -> Any:
            statements.append((sql, args))
            return await method(engine, sql, *args, **options)

        return note

    with monkeypatch.context() as patch:
        for name in ("fetch", "fetchrow", "fetchval", "execute"):
            patch.setattr(DatabaseEngine, name, noted(getattr(DatabaseEngine, name)))
        yield statements


@pytest.mark.slow
async def test_statements_use_indexes(clone: DatabaseEngine, sent: list[Any]):
    anna = await users.register(UserCreate(email="anna@example.com", password=PASSWORD))
    opened = await sessions.open(anna.id, HOUR)
    code = await codes.issue(CODE_OF, HOUR)
    google, _ = await accounts.link(anna.id, "google", "g1")
    since = datetime(2026, 1, 1, tzinfo=UTC)
    await users.find_by_email("anna@example.com")
    await users.update(anna.id, UserUpdate(name="A"))
    await users.verify_email(anna.id, anna.email)
    await users.set_admin(anna.id, True)
    await users.list(limit=10, order="newest")
    await users.page(limit=10, order="newest")
    await users.exists(created_since=since, created_until=since + timedelta(hours=1))
    await users.list(
        limit=10, order="newest", created_since=since, created_until=since + timedelta(hours=1)
    )
    await users.page(limit=10)
    await sessions.sign_in(anna.email, PASSWORD, HOUR)
    await sessions.resolve(opened.token)
    await sessions.extend(opened.token, HOUR)
    await sessions.list_for_user(anna.id)
    await sessions.purge_expired(batch=10)
    await codes.consume(CODE_OF, "no")
    await codes.purge_expired(batch=10)
    await users.reset_password(anna.email, code, "other-pass-8")
    await accounts.list_for_user(anna.id)
    await accounts.find_by_provider("google", "g1")
    await accounts.tokens(google.id)
    await accounts.unlink(google.id)
    await sessions.close(opened.token)
    await sessions.close_all(anna.id)
    await codes.invalidate(CODE_OF)
    assert len(sent) > 30
    for sql, args in list(sent):
        plan = json.loads(await clone.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *args))
        assert "Seq Scan" not in json.dumps(plan), sql


@pytest.mark.slow
async def test_erasure_and_export_scan_only_the_codes(clone: DatabaseEngine, sent: list[Any]):
    (user,) = (await users.page(limit=1)).rows
    await users.export(user.id)
    await users.change_email(user.id, "other@example.com")
    await users.delete(user.id)
    for sql, args in [one for one in sent if "user_preferences" not in one[0]]:
        (plan,) = json.loads(await clone.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *args))
        found = json.dumps(plan)
        assert "Seq Scan" not in found or '"Relation Name": "verifications"' in found, sql
