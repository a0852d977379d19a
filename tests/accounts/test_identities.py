"""Linking and unlinking of identities."""

import asyncio
from collections import Counter
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from learner_app.accounts.repositories import AccountRepository, UserRepository
from learner_app.accounts.rows import AccountUpdate, ProviderUserCreate
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    Conflict,
    InvalidTransition,
    InvalidValue,
    MissingReference,
    NotFound,
)
from tests.accounts.factories import PASSWORD, registered

accounts, users = AccountRepository(), UserRepository()
NOW = datetime(2026, 1, 1, tzinfo=UTC)


async def test_linking_is_idempotent_and_an_identity_belongs_to_one_user(db: DatabaseEngine):
    user, other = await registered(), await registered("b@example.com")
    account, created = await accounts.link(user.id, "google", "g1")
    assert created
    assert await accounts.link(user.id, "google", "g1") == (account, False)
    with pytest.raises(Conflict) as caught:
        await accounts.link(other.id, "google", "g1")
    assert caught.value.fields == ("provider_id", "account_id")
    assert await accounts.find_by_provider("google", "g1") == account
    assert (await accounts.link(other.id, "github", "g1")).row.user_id == other.id
    for wrong in ("g2", "g1\0", "x" * 300):
        assert await accounts.find_by_provider("google", wrong) is None
    rows = await accounts.list_for_user(user.id)
    assert [row.provider_id for row in rows] == ["credential", "google"]
    assert await accounts.list_for_user("x") == []  # type: ignore[arg-type]


async def test_one_of_several_users_links_an_identity_concurrently(clone: DatabaseEngine):
    people = [await registered(f"u{n}@example.com") for n in range(4)]
    results = await asyncio.gather(
        *(accounts.link(people[n % 4].id, "google", "g1") for n in range(20)),
        return_exceptions=True,
    )
    assert Counter(type(one).__name__ for one in results) == {"StoredRow": 5, "Conflict": 15}
    assert sum(one.created for one in results if not isinstance(one, BaseException)) == 1
    assert await accounts.count(provider_id="google") == 1


@pytest.mark.parametrize(
    ("provider", "identity", "field"),
    [
        ("credential", "x", "provider_id"),
        ("", "x", "provider_id"),
        ("x" * 51, "x", "provider_id"),
        ("google", "", "account_id"),
        ("google", "x" * 256, "account_id"),
        ("google", "a\0", "account_id"),
        ("google", None, "account_id"),
    ],
)
async def test_malformed_identities_are_rejected(
    db: DatabaseEngine, provider: Any, identity: Any, field: str
):
    user = await registered()
    with pytest.raises(InvalidValue) as caught:
        await accounts.link(user.id, provider, identity)
    assert caught.value.fields == (field,)


async def test_an_identity_needs_a_user(db: DatabaseEngine):
    for nobody in (uuid4(), "x", None):
        with pytest.raises(MissingReference) as caught:
            await accounts.link(nobody, "google", "g1")  # type: ignore[arg-type]
        assert caught.value.fields == ("user_id",)
    assert await accounts.count() == 0


async def test_tokens_are_read_by_one_operation_only(db: DatabaseEngine):
    user = await registered()
    given = AccountUpdate(access_token="a-1", refresh_token="r-1", scope="email")
    account, _ = await accounts.link(user.id, "google", "g1", given)
    assert account.scope == "email"
    changed = AccountUpdate(access_token="a-2", access_token_expires_at=NOW, refresh_token=None)
    changed_row = await accounts.update_tokens(account.id, changed)
    assert (changed_row.access_token_expires_at, changed_row.scope) == (NOW, "email")
    tokens = await accounts.tokens(account.id)
    assert tokens.access_token is not None
    assert tokens.access_token.get_secret_value() == "a-2"
    assert (tokens.refresh_token, tokens.id_token) == (None, None)
    assert "a-2" not in repr(tokens) + repr(changed_row)
    assert await accounts.update_tokens(account.id, AccountUpdate()) == changed_row
    for call in (accounts.tokens(uuid4()), accounts.update_tokens(uuid4(), changed)):
        with pytest.raises(NotFound):
            await call
    with pytest.raises(InvalidValue):
        AccountUpdate(access_token="a\0")


async def test_the_last_sign_in_method_cannot_be_unlinked(db: DatabaseEngine):
    user = await users.register_with_provider(
        ProviderUserCreate(email="a@example.com"), "google", "g1"
    )
    (google,) = await accounts.list_for_user(user.id)
    with pytest.raises(InvalidTransition):
        await accounts.unlink(google.id)
    github, _ = await accounts.link(user.id, "github", "h1")
    assert await accounts.unlink(google.id)
    assert not await accounts.unlink(google.id)
    assert not await accounts.unlink("x")  # type: ignore[arg-type]
    with pytest.raises(InvalidTransition):
        await accounts.unlink(github.id)
    await users.set_password(user.id, PASSWORD)
    assert await accounts.unlink(github.id)
    (credential,) = await accounts.list_for_user(user.id)
    with pytest.raises(InvalidTransition):
        await accounts.unlink(credential.id)


async def test_an_unlinked_password_does_not_match(db: DatabaseEngine):
    user = await registered()
    (credential,) = await accounts.list_for_user(user.id)
    google, _ = await accounts.link(user.id, "google", "g1")
    assert await accounts.unlink(credential.id)
    assert await users.check_password(user.email, PASSWORD) is None
    with pytest.raises(InvalidTransition):
        await accounts.unlink(google.id)


async def test_concurrent_unlinking_keeps_one_sign_in_method(clone: DatabaseEngine):
    for n in range(5):
        user = await users.register_with_provider(
            ProviderUserCreate(email=f"u{n}@example.com"), "google", f"g{n}"
        )
        await accounts.link(user.id, "github", f"h{n}")
        both = await accounts.list_for_user(user.id)
        await asyncio.gather(*(accounts.unlink(one.id) for one in both), return_exceptions=True)
        assert len(await accounts.list_for_user(user.id)) == 1
