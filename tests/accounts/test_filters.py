"""Lists, counts and existence checks by filters, and the general writes that are left out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from learner_app.accounts.repositories import (
    AccountRepository,
    AuthSessionRepository,
    UserRepository,
    VerificationRepository,
)
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from tests.accounts.factories import HOUR, registered

users, accounts = UserRepository(), AccountRepository()
sessions, codes = AuthSessionRepository(), VerificationRepository()


async def agree(repository: Any, **filters: Any) -> list[Any]:
    """Return the rows of list(), which all other reads by the same filters must find too."""
    rows = await repository.list(**filters)
    assert (await repository.page(**filters)).rows == rows
    assert [row async for row in repository.stream(**filters)] == rows
    assert await repository.count(**filters) == len(rows)
    assert await repository.exists(**filters) == bool(rows)
    return list(rows)


async def test_accounts_are_filtered_by_user_and_provider(db: DatabaseEngine):
    anna, bruno = await registered(), await registered("b@example.com")
    google = (await accounts.link(anna.id, "google", "g1")).row
    assert await agree(accounts, provider_id="google") == [google]
    assert await agree(accounts, provider_id="google", user_id=bruno.id) == []
    assert len(await agree(accounts, user_id=anna.id)) == 2
    assert await agree(accounts, provider_id="git\0hub") == []


async def test_auth_sessions_are_filtered_by_user_and_expiry(db: DatabaseEngine):
    anna, bruno = await registered(), await registered("b@example.com")
    short = (await sessions.open(anna.id, HOUR)).session
    long = (await sessions.open(anna.id, 9 * HOUR)).session
    other = (await sessions.open(bruno.id, HOUR)).session
    assert await agree(sessions, user_id=bruno.id) == [other]
    assert await agree(sessions, user_id=anna.id, expires_since=long.expires_at) == [long]
    assert await agree(sessions, user_id=anna.id, expires_until=long.expires_at) == [short]
    assert await agree(sessions, expires_until=short.expires_at) == []


async def test_codes_are_filtered_by_identifier_and_expiry(db: DatabaseEngine):
    await codes.issue("invite:a@example.com", HOUR)
    await codes.issue("invite:b@example.com", 9 * HOUR)
    (first,) = await agree(codes, identifier="invite:a@example.com")
    (second,) = await agree(codes, expires_since=datetime.now(UTC) + timedelta(hours=2))
    assert second.identifier == "invite:b@example.com"
    assert await agree(codes, expires_until=second.expires_at) == [first]


async def test_a_filter_of_an_unknown_name_is_rejected(db: DatabaseEngine):
    for repository, name in ((users, "hashed_password"), (sessions, "token_hash")):
        for call in (repository.list, repository.count, repository.exists):
            with pytest.raises(InvalidValue) as caught:
                await call(**{name: "x"})
            assert caught.value.fields == (name,)


@pytest.mark.parametrize("repository", [users, accounts, sessions, codes], ids=type)
@pytest.mark.parametrize("name", ["add", "add_many", "update_where", "delete_where", "upsert"])
def test_general_writes_are_left_out(repository: Any, name: str):
    """They would bypass the rules of passwords, verified addresses, tokens and codes."""
    assert not hasattr(repository, name)
