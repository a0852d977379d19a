"""Attempts to take over the account of another user."""

import asyncio
from collections.abc import Awaitable
from contextvars import Context
from datetime import timedelta
from typing import Any

import pytest

from learner_app.accounts.passwords import hash_password
from learner_app.accounts.repositories import (
    AccountRepository,
    AuthSessionRepository,
    UserRepository,
)
from learner_app.accounts.rows import UserCreate
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import Conflict, TransactionError
from tests.accounts.factories import PASSWORD, registered

users, sessions, accounts = UserRepository(), AuthSessionRepository(), AccountRepository()
HOUR = timedelta(hours=1)
OTHER = "other-pass-8"


def elsewhere(work: Awaitable[Any]) -> "asyncio.Task[Any]":
    """Run outside the transaction of the caller."""

    async def run() -> Any:
        return await work

    return asyncio.create_task(run(), context=Context())


async def test_a_code_is_invalid_after_the_address_has_changed(clone: DatabaseEngine):
    user = await registered()
    async with clone.transaction():
        await users.change_email(user.id, "new@example.com")
        asked = elsewhere(users.issue_reset(user.email, HOUR))
        await asyncio.sleep(0.2)
        assert not asked.done(), "it must wait for the change"
    assert await asked is None

    issued = await users.issue_reset("new@example.com", HOUR)
    assert issued is not None
    await users.change_email(user.id, "third@example.com")
    for address in ("new@example.com", "third@example.com"):
        assert await users.reset_password(address, issued.code, OTHER) is None


async def test_a_code_of_an_erased_user_is_invalid_for_the_next_user_of_the_address(
    clone: DatabaseEngine,
):
    user = await registered()
    issued = await users.issue_reset(user.email, HOUR)
    assert issued is not None
    await users.delete(user.id)
    await registered()
    assert await users.reset_password(user.email, issued.code, OTHER) is None
    assert await clone.fetchval("SELECT count(*) FROM verifications") == 0


async def test_one_of_several_concurrent_password_changes_with_the_same_old_password_succeeds(
    clone: DatabaseEngine,
):
    user = await registered()
    opened = await sessions.open(user.id, HOUR)
    calls = [
        users.change_password(user.id, PASSWORD, f"pass-word-{n}", keep_token=opened.token)
        for n in range(5)
    ]
    done = await asyncio.gather(*calls)
    (winner,) = [n for n, changed in enumerate(done) if changed]
    assert await users.check_password(user.email, f"pass-word-{winner}") is not None
    assert await sessions.resolve(opened.token) is not None
    assert await users.change_password(user.id, PASSWORD, OTHER) is None


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
async def test_operations_that_lock_the_user_reject_older_snapshots(
    clone: DatabaseEngine, isolation: Any
):
    user = await registered()
    google, _ = await accounts.link(user.id, "google", "g1")
    for change in (
        lambda: users.set_password(user.id, OTHER),
        lambda: users.change_password(user.id, PASSWORD, OTHER),
        lambda: users.change_email(user.id, "new@example.com"),
        lambda: users.delete(user.id),
        lambda: accounts.unlink(google.id),
        lambda: users.issue_reset(user.email, HOUR),
    ):
        with pytest.raises(TransactionError):
            async with clone.transaction(isolation=isolation):
                await change()
    assert await users.check_password(user.email, PASSWORD) == user


async def test_unlinking_the_password_deletes_sessions_and_reset_codes(clone: DatabaseEngine):
    user = await registered()
    await accounts.link(user.id, "google", "g1")
    opened = await sessions.sign_in(user.email, PASSWORD, HOUR)
    issued = await users.issue_reset(user.email, HOUR)
    assert opened is not None
    assert issued is not None
    (credential,) = [a for a in await accounts.list_for_user(user.id) if a.provider_id != "google"]
    assert await accounts.unlink(credential.id)
    assert await sessions.resolve(opened.token) is None
    assert await users.reset_password(user.email, issued.code, OTHER) is None


async def test_addresses_with_any_form_of_sigma_are_the_same(clone: DatabaseEngine):
    spelling = "\u03b1\u03c3@example.com"
    await users.register(UserCreate(email=spelling, password=PASSWORD))
    for other in (spelling.upper(), spelling.replace("\u03c3", "\u03c2")):
        with pytest.raises(Conflict):
            await users.register(UserCreate(email=other, password=PASSWORD))
        assert await users.find_by_email(other) is not None


async def test_the_longest_address_can_be_reset(clone: DatabaseEngine):
    address = "a" * 64 + "@" + ".".join(["b" * 60] * 2) + ".example.com"
    await users.register(UserCreate(email=address, password=PASSWORD))
    issued = await users.issue_reset(address, HOUR)
    assert issued is not None
    assert await users.reset_password(address, issued.code, OTHER) is not None


@pytest.mark.parametrize("operation", ["sign_in", "change_password"])
async def test_a_correct_password_is_accepted_while_its_hash_is_upgraded(
    clone: DatabaseEngine, operation: str
):
    user = await registered()
    calls = {
        "sign_in": lambda: sessions.sign_in(user.email, PASSWORD, HOUR),
        "change_password": lambda: users.change_password(user.id, PASSWORD, OTHER),
    }
    upgrade = "UPDATE users SET hashed_password = $1 WHERE id = $2"
    async with clone.transaction():
        await clone.execute(upgrade, hash_password(PASSWORD), user.id)
        waiting = elsewhere(calls[operation]())
        await asyncio.sleep(0.5)
        assert not waiting.done(), "it must wait for the upgrade"
    assert await waiting is not None
