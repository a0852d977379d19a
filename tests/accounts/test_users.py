"""Users: registration, passwords, profile, erasure and export."""

import asyncio
import json
from collections import Counter
from collections.abc import Coroutine, Sequence
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr

from learner_app.accounts.passwords import Cost, hash_password
from learner_app.accounts.repositories import (
    AccountRepository,
    AuthSessionRepository,
    UserRepository,
    VerificationRepository,
)
from learner_app.accounts.rows import (
    AccountUpdate,
    Erased,
    ProviderUserCreate,
    User,
    UserResponse,
    UserUpdate,
)
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import Conflict, InvalidValue, NotFound, StaleVersion
from learner_app.learner.repositories import UserPreferencesRepository
from learner_app.learner.rows import UserPreferencesUpdate
from tests.accounts.factories import HOUR, PASSWORD, new_user, registered

users, accounts = UserRepository(), AccountRepository()
sessions, codes = AuthSessionRepository(), VerificationRepository()
preferences = UserPreferencesRepository()

SPELLINGS = [
    "anna@example.com",
    "ANNA@EXAMPLE.COM",
    " Anna@Example.com\n",
    "\u3000anna@example.com\u00a0",
    "\uff21\uff4e\uff4e\uff41@example.com",
    "anna@\uff25xample.com",
]
MALFORMED: list[Any] = ["", "nobody", "\0", "\ud800", "x" * 300, 5, None]


async def kinds(calls: Sequence[Coroutine[Any, Any, Any]]) -> Counter[str]:
    results = await asyncio.gather(*calls, return_exceptions=True)
    return Counter(type(result).__name__ for result in results)


async def stored_hash(db: DatabaseEngine, user: User) -> str:
    return str(await db.fetchval("SELECT hashed_password FROM users WHERE id = $1", user.id))


async def store_hash(db: DatabaseEngine, user: User, stored: str) -> None:
    await db.execute("UPDATE users SET hashed_password = $2 WHERE id = $1", user.id, stored)


async def test_registering_inserts_user_and_account(db: DatabaseEngine):
    user = await users.register(new_user(" Anna@Example.COM ", name="Anna"))
    assert (user.email, user.name, user.email_verified) == ("anna@example.com", "Anna", False)
    assert (user.is_admin, user.dark_mode, user.image) == (False, "auto", None)
    assert user.id.version == 7
    (account,) = await accounts.list_for_user(user.id)
    assert (account.provider_id, account.account_id) == ("credential", str(user.id))
    assert (await stored_hash(db, user)).startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await users.get(user.id) == await users.get(str(user.id)) == user  # type: ignore[arg-type]
    assert await users.get_many([user.id, uuid4(), user.id]) == [user, user]
    assert await users.exists(user.id)


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_an_address_is_found_in_any_spelling(db: DatabaseEngine, spelling: str):
    user = await registered()
    assert await users.find_by_email(spelling) == user
    assert await users.check_password(spelling, PASSWORD) == user
    with pytest.raises(Conflict) as caught:
        await users.register(new_user(spelling))
    assert (caught.value.table, caught.value.constraint) == ("users", "idx_users_email")
    assert caught.value.fields == ("email",)
    assert await users.count() == 1, "the transaction remains usable"


@pytest.mark.parametrize(
    "email",
    [
        "\u0130@example.com",
        "STRASSE\u1e9e@example.com",
        "\u0418\u0412\u0410\u041d@\u043f\u0440\u0438\u043c\u0435\u0440.\u0440\u0444",
        "caf\u0065\u0301@example.com",
        "\u03a3\u0391\u03a3@example.com",
        "a@xn--e1afmkfd.xn--p1ai",
    ],
)
async def test_addresses_of_any_script_are_found(db: DatabaseEngine, email: str):
    user = await users.register(new_user(email))
    for other in (email, email.lower(), user.email):
        assert await users.find_by_email(other) == user
        assert await users.check_password(other, PASSWORD) == user


async def test_one_of_20_concurrent_registrations_succeeds(clone: DatabaseEngine):
    calls = [users.register(new_user(SPELLINGS[n % len(SPELLINGS)])) for n in range(20)]
    assert await kinds(calls) == {"User": 1, "Conflict": 19}
    assert (await users.count(), await accounts.count()) == (1, 1)


async def test_malformed_keys_and_addresses_are_not_found(db: DatabaseEngine):
    user = await registered()
    for wrong in MALFORMED:
        assert await users.find_by_email(wrong) is None
        assert await users.check_password(wrong, PASSWORD) is None
        assert await users.check_password(user.email, wrong) is None
        assert await users.find(wrong) is None
        assert await users.delete(wrong) == Erased(0, 0, 0, 0, 0)
    for key in (*MALFORMED, uuid4()):
        for call in (
            users.get(key),
            users.set_password(key, PASSWORD),
            users.update(key, UserUpdate(name="x")),
            users.update(key, UserUpdate()),
            users.change_email(key, "b@example.com"),
            users.verify_email(key, "b@example.com"),
            users.set_admin(key, True),
            users.export(key),
        ):
            with pytest.raises(NotFound):
                await call


async def test_only_the_right_password_matches(db: DatabaseEngine):
    user = await registered(password="caffe\u0300-1234")
    assert await users.check_password(user.email, "caff\u00e8-1234") == user
    assert await users.check_password(user.email, SecretStr("caff\u00e8-1234")) == user
    for wrong in ("caffe-1234", "", "caff\u00e8-1234 ", "x" * 10_000, "caff\u00e8-1234\0"):
        assert await users.check_password(user.email, wrong) is None
    assert await users.check_password("nobody@example.com", "caff\u00e8-1234") is None


async def test_an_outdated_hash_is_replaced_at_the_next_sign_in(db: DatabaseEngine):
    user = await registered()
    await store_hash(db, user, hash_password(PASSWORD, Cost(7168, 1, 1)))
    assert await users.check_password(user.email, "wrong-pass-1") is None
    assert "m=7168" in await stored_hash(db, user)
    changed = await users.check_password(user.email, PASSWORD)
    assert changed is not None
    assert "m=19456,t=2" in (new := await stored_hash(db, user))
    assert await users.check_password(user.email, PASSWORD) == changed
    assert await stored_hash(db, user) == new


async def test_the_settings_determine_the_cost_of_a_hash(db: DatabaseEngine, monkeypatch):
    monkeypatch.setattr(db.settings, "password_memory_kib", 12_288)
    monkeypatch.setattr(db.settings, "password_passes", 3)
    user = await registered()
    assert "m=12288,t=3,p=1" in await stored_hash(db, user)


@pytest.mark.slow
async def test_a_change_of_the_password_wins_over_an_upgrade(clone: DatabaseEngine):
    user = await registered()
    for n in range(5):
        old, new = f"old-pass-{n}", f"new-pass-{n}"
        await store_hash(clone, user, hash_password(old, Cost(7168, 1, 1)))
        await asyncio.gather(
            *(users.check_password(user.email, old) for _ in range(3)),
            users.set_password(user.id, new),
        )
        assert await users.check_password(user.email, new) is not None
        assert await users.check_password(user.email, old) is None


@pytest.mark.slow
async def test_concurrent_sign_ins_with_an_outdated_hash_all_succeed(clone: DatabaseEngine):
    user = await registered()
    await store_hash(clone, user, hash_password(PASSWORD, Cost(7168, 1, 1)))
    calls = [sessions.sign_in(user.email, PASSWORD, HOUR) for _ in range(6)]
    assert await kinds(calls) == {"OpenedSession": 6}


async def test_a_new_password_closes_all_other_sessions(db: DatabaseEngine):
    user, other = await registered(), await registered("b@example.com")
    opened = [await sessions.open(user.id, HOUR) for _ in range(2)]
    foreign = await sessions.open(other.id, HOUR)
    code = await codes.issue(f"reset-password:{user.email}", HOUR)
    await users.set_password(user.id, "other-pass-8", keep_token=opened[0].token)
    assert await sessions.resolve(opened[0].token) is not None
    assert await sessions.resolve(opened[1].token) is None
    assert await sessions.resolve(foreign.token) is not None
    assert not await codes.consume(f"reset-password:{user.email}", code)
    assert await users.check_password(user.email, PASSWORD) is None
    assert await users.check_password(user.email, "other-pass-8") is not None
    await users.set_password(user.id, "third-pass-9")
    assert await sessions.list_for_user(user.id) == []
    assert await accounts.count(user_id=user.id) == 1


async def test_a_password_is_reset_with_a_code(clone: DatabaseEngine):
    user, other = await registered(), await registered("b@example.com")
    opened, issued = await sessions.open(user.id, HOUR), await users.issue_reset(user.email, HOUR)
    assert issued is not None
    assert issued.user == user
    code = issued.code
    for email, given in (
        (user.email, "x"),
        (user.email, ""),
        (other.email, code),
        ("nobody@example.com", code),
        ("\0", code),
    ):
        assert await users.reset_password(email, given, "other-pass-8") is None
    (row,) = (await codes.page()).rows
    assert row.attempts == 2, "wrong codes must count"
    with pytest.raises(InvalidValue):
        await users.reset_password(user.email, code, "short")
    assert await sessions.resolve(opened.token) is not None
    calls = [users.reset_password(" ANNA@example.com", code, f"new-pass-{n}") for n in range(10)]
    done = await asyncio.gather(*calls)
    assert [row.id for row in done if row] == [user.id]
    assert await sessions.resolve(opened.token) is None
    assert await users.check_password(user.email, PASSWORD) is None
    n = next(n for n, row in enumerate(done) if row)
    assert await users.check_password(user.email, f"new-pass-{n}") is not None


async def test_concurrent_reset_and_erasure_do_not_deadlock(clone: DatabaseEngine):
    for n in range(5):
        user = await registered(f"u{n}@example.com")
        issued = await users.issue_reset(user.email, HOUR)
        assert issued is not None
        code = issued.code
        outcomes = await kinds(
            [
                users.reset_password(user.email, code, "other-pass-8"),
                users.change_email(user.id, f"v{n}@example.com"),
                users.delete(user.id),
            ]
        )
        assert set(outcomes) <= {"User", "NoneType", "Erased", "NotFound"}


async def test_a_failed_change_of_the_password_closes_no_session(clone: DatabaseEngine):
    user = await registered()
    opened = await sessions.open(user.id, HOUR)
    with pytest.raises(InvalidValue) as caught:
        await users.set_password(user.id, "short")
    assert caught.value.fields == ("password",)
    with pytest.raises(RuntimeError):
        async with clone.transaction():
            await users.set_password(user.id, "other-pass-8")
            raise RuntimeError
    assert await sessions.resolve(opened.token) is not None
    assert await users.check_password(user.email, PASSWORD) is not None


@pytest.mark.slow
async def test_no_session_of_the_old_password_survives_a_concurrent_change(clone: DatabaseEngine):
    user = await registered()
    for n in range(8):
        old, new = (PASSWORD if n == 0 else f"changed-{n - 1}"), f"changed-{n}"
        await asyncio.gather(
            *(sessions.sign_in(user.email, old, HOUR) for _ in range(4)),
            users.set_password(user.id, new),
        )
        assert await sessions.count() == 0


async def test_an_update_changes_the_fields_of_the_profile_only(db: DatabaseEngine):
    user = await registered()
    given = UserUpdate(
        name="Anna",
        image="https://a.example/p.png",
        exam_date=date(2027, 6, 1),
        target_score=100,
        daily_study_time=30,
        knowledge_level="Advanced",
        motivation="to read",
        referral_source="Friend",
        dark_mode="dark",
    )
    changed = await users.update(user.id, given)
    for name in UserUpdate.model_fields:
        assert getattr(changed, name) == getattr(given, name)
    assert changed.email == user.email
    cleared = await users.update(user.id, UserUpdate(exam_date=None, image=None))
    assert (cleared.exam_date, cleared.image, cleared.name) == (None, None, "Anna")
    assert await users.update(user.id, UserUpdate()) == cleared


async def test_a_new_address_is_not_verified(db: DatabaseEngine):
    user, other = await registered(), await registered("b@example.com")
    verified = await users.verify_email(user.id, " ANNA@example.com")
    assert verified.email_verified
    assert await users.verify_email(user.id, user.email) == verified
    assert await users.change_email(user.id, "Anna@Example.com") == verified, "nothing changed"
    code = await codes.issue("reset-password:anna@example.com", HOUR)
    changed = await users.change_email(user.id, "Anna2@Example.com")
    assert (changed.email, changed.email_verified) == ("anna2@example.com", False)
    assert not await codes.consume("reset-password:anna@example.com", code)
    with pytest.raises(StaleVersion):
        await users.verify_email(user.id, "anna@example.com")
    with pytest.raises(StaleVersion):
        await users.verify_email(user.id, other.email)
    with pytest.raises(Conflict) as caught:
        await users.change_email(user.id, "B@example.com")
    assert caught.value.fields == ("email",)
    with pytest.raises(InvalidValue) as refused:
        await users.change_email(user.id, "nonsense")
    assert refused.value.fields == ("email",)
    assert await users.get(user.id) == changed, "the transaction remains usable"


async def test_set_admin_grants_and_withdraws_the_right(db: DatabaseEngine):
    user = await registered()
    admin = await users.set_admin(user.id, True)
    assert admin.is_admin
    assert await users.set_admin(user.id, True) == admin, "nothing was written"
    assert not (await users.set_admin(user.id, False)).is_admin
    with pytest.raises(InvalidValue):
        await users.set_admin(user.id, "perhaps")  # type: ignore[arg-type]


async def test_lists_and_pages_of_users_are_filtered_and_ordered(clone: DatabaseEngine):
    for n in range(5):
        await clone.execute(
            "INSERT INTO users (email, hashed_password, name, is_admin, created_at) "
            "VALUES ($1, '!', $2, $3, $4)",
            f"user{n}@example.com",
            f"Persona {n}",
            n == 3,
            datetime(2026, 1, 1 + n, tzinfo=UTC),
        )
    page = await users.page(limit=2, total="exact", order="newest")
    assert [user.email for user in page.rows] == ["user4@example.com", "user3@example.com"]
    assert page.total == 5
    page = await users.page(limit=2, after=page.next, order="newest")
    assert [user.email for user in page.rows] == ["user2@example.com", "user1@example.com"]
    for text in ("USER2", "user2@", "persona 2", "PERSONA 2"):
        assert [user.name for user in await users.list(text=text)] == ["Persona 2"]
    for text in ("ser2", "%", "\0", "\\"):
        assert await users.list(text=text) == []
        assert not await users.exists(text=text)
    assert [user.name for user in await users.list(is_admin=True)] == ["Persona 3"]
    assert await users.exists(text="persona 3", is_admin=True)
    assert not await users.exists(text="persona 2", is_admin=True)
    assert await users.count(email_verified=True) == 0
    since, until = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 4, tzinfo=UTC)
    found = await users.list(order="newest", created_since=since, created_until=until)
    assert [user.name for user in found] == ["Persona 2", "Persona 1"]
    by_key = [user async for user in users.stream()]
    assert await users.list() == by_key
    assert await users.list(limit=2) == by_key[:2]
    assert [user async for user in users.stream(order="newest")] == await users.list(order="newest")
    with pytest.raises(InvalidValue) as caught:
        await users.list(order="oldest")
    assert caught.value.fields == ("order",)
    with pytest.raises(InvalidValue) as caught:
        await users.page(after=page.next)
    assert caught.value.fields == ("after",), "the cursor is one of another order"
    assert [user.id async for user in users.stream()] == sorted(
        user.id for user in (await users.page()).rows
    )


async def test_a_user_registered_with_a_provider_has_no_password(db: DatabaseEngine):
    new = ProviderUserCreate(email="Anna@Example.com", name="Anna", email_verified=True)
    tokens = AccountUpdate(access_token="of-google")
    user = await users.register_with_provider(new, "google", "g1", tokens)
    assert (user.email, user.email_verified) == ("anna@example.com", True)
    account = await accounts.find_by_provider("google", "g1")
    assert account is not None
    assert account.user_id == user.id
    stored = await stored_hash(db, user)
    assert stored.startswith("!")
    for guess in (stored, stored[1:], "!", ""):
        assert await users.check_password(user.email, guess) is None
    with pytest.raises(Conflict) as caught:
        await users.register_with_provider(new, "google", "g2")
    assert caught.value.table == "users"
    with pytest.raises(Conflict) as caught:
        await users.register_with_provider(
            ProviderUserCreate(email="b@example.com"), "google", "g1"
        )
    assert caught.value.table == "accounts"
    assert await users.count() == 1, "neither user nor account must remain"
    await users.set_password(user.id, PASSWORD)
    assert await users.check_password(user.email, PASSWORD) is not None
    assert [row.provider_id for row in await accounts.list_for_user(user.id)] == [
        "google",
        "credential",
    ]


async def with_everything(email: str) -> User:
    user = await registered(email)
    await accounts.link(user.id, "google", email, AccountUpdate(access_token="of-google"))
    await sessions.open(user.id, HOUR, ip_address="192.0.2.1", user_agent="a browser")
    await codes.issue(f"reset-password:{email}", HOUR)
    await codes.issue(f"verify-email:{email.upper()}", HOUR)
    await codes.issue(f"invite:{user.id}", HOUR)
    await preferences.save(str(user.id), UserPreferencesUpdate(auto_play=False))
    return user


async def test_erasure_deletes_all_personal_data_of_the_user(db: DatabaseEngine):
    user, other = await with_everything("a@example.com"), await with_everything("aa@example.com")
    before = await users.export(other.id)
    assert await users.delete(user.id) == Erased(1, 2, 1, 3, 1)
    assert await users.delete(user.id) == Erased(0, 0, 0, 0, 0)
    assert await users.export(other.id) == before
    for repository in (users, accounts, sessions, codes, preferences):
        text = str([row async for row in repository.stream()])
        assert str(user.id) not in text
        assert "'a@example.com" not in text


async def test_erasure_during_concurrent_sign_ins_leaves_no_session(clone: DatabaseEngine):
    user = await registered()
    outcomes = await kinds(
        [*(sessions.open(user.id, HOUR) for _ in range(10)), users.delete(user.id)]
    )
    assert outcomes["Erased"] == 1
    assert set(outcomes) <= {"Erased", "OpenedSession", "MissingReference"}
    assert await sessions.count() == await accounts.count() == 0


async def test_an_export_is_one_json_document_without_secrets(db: DatabaseEngine):
    user = await with_everything("a@example.com")
    document = await users.export(user.id)
    text = json.dumps(document)
    assert document["user"]["email"] == "a@example.com"
    assert [row["provider_id"] for row in document["accounts"]] == ["credential", "google"]
    assert document["auth_sessions"][0]["ip_address"] == "192.0.2.1"
    assert len(document["verifications"]) == 3
    assert document["preferences"]["auto_play"] is False
    for secret in ("hash", "of-google", "argon2", 'token"'):
        assert secret not in text


async def test_a_response_has_the_fields_of_the_row(db: DatabaseEngine):
    user = await registered()
    shown = UserResponse.of(user)
    assert set(UserResponse.model_fields) == set(User.__struct_fields__)
    assert json.loads(shown.model_dump_json())["id"] == str(user.id)
    assert isinstance(shown.id, UUID)
