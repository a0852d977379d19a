"""Single-use codes."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from learner_app.accounts import verifications
from learner_app.accounts.repositories import VerificationRepository
from learner_app.accounts.tokens import token_hash
from learner_app.accounts.verifications import MAX_ATTEMPTS
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from tests.accounts.factories import HOUR

codes = VerificationRepository()
ANNA = "reset-password:anna@example.com"


async def test_a_code_works_once(db: DatabaseEngine):
    code = await codes.issue(ANNA, HOUR)
    record = await db.fetchrow("SELECT * FROM verifications")
    assert code.get_secret_value() not in str(record)
    assert record["value_hash"] == token_hash(code)
    assert not await codes.consume(ANNA, record["value_hash"])
    assert not await codes.consume("reset-password:b@example.com", code)
    assert not await codes.consume("verify-email:anna@example.com", code)
    assert await codes.consume(ANNA, code) is True
    assert await codes.consume(ANNA, code) is False
    assert await codes.count() == 0


async def test_the_address_of_an_identifier_may_have_any_spelling(db: DatabaseEngine):
    code = await codes.issue("reset-password: Anna@Example.COM ", HOUR)
    assert await codes.count(identifier=ANNA) == 1
    assert await codes.consume("reset-password:ANNA@example.com", code.get_secret_value())


async def test_one_of_ten_concurrent_callers_consumes_the_code(clone: DatabaseEngine):
    for _ in range(5):
        code = await codes.issue(ANNA, HOUR)
        found = await asyncio.gather(*(codes.consume(ANNA, code) for _ in range(10)))
        assert sorted(found) == [False] * 9 + [True]


async def test_one_of_ten_concurrently_issued_codes_is_valid(clone: DatabaseEngine):
    issued = await asyncio.gather(*(codes.issue(ANNA, HOUR) for _ in range(10)))
    assert await codes.count() == 1
    assert sum([await codes.consume(ANNA, code) for code in issued]) == 1


async def test_a_new_code_invalidates_the_earlier_one(db: DatabaseEngine):
    first, second = await codes.issue(ANNA, HOUR), await codes.issue(ANNA, HOUR)
    assert not await codes.consume(ANNA, first)
    assert await codes.consume(ANNA, second)


async def test_ten_wrong_codes_invalidate_the_right_one(db: DatabaseEngine):
    code = await codes.issue(ANNA, HOUR)
    for wrong in ["", "\0", "x" * 43, "x" * 9999, *["no"] * (MAX_ATTEMPTS - 5)]:
        assert not await codes.consume(ANNA, wrong)
    (row,) = (await codes.page()).rows
    assert row.attempts == MAX_ATTEMPTS - 1
    again = await codes.issue("reset-password:b@example.com", HOUR)
    assert await codes.consume("reset-password:b@example.com", again), (
        "wrong codes of other identifiers must not count"
    )
    assert not await codes.consume(ANNA, "no")
    assert not await codes.consume(ANNA, code)
    assert (await codes.get(row.id)).attempts == MAX_ATTEMPTS


async def test_concurrent_wrong_codes_are_all_counted(clone: DatabaseEngine):
    await codes.issue(ANNA, HOUR)
    await asyncio.gather(*(codes.consume(ANNA, "no") for _ in range(MAX_ATTEMPTS + 5)))
    (row,) = (await codes.page()).rows
    assert row.attempts == MAX_ATTEMPTS


async def test_codes_expire_by_the_clock_of_the_database(db: DatabaseEngine, monkeypatch):
    code = await codes.issue(ANNA, HOUR)
    (row,) = (await codes.page()).rows
    consume = verifications.CONSUME
    for late, expected in ((timedelta(0), False), (timedelta(microseconds=-1), True)):
        time = f"timestamptz '{row.expires_at + late}'"
        sql = consume.sql.replace("statement_timestamp()", time)
        monkeypatch.setattr(verifications, "CONSUME", replace(consume, sql=sql))
        assert await codes.consume(ANNA, code) is expected


async def test_invalidated_and_expired_codes_are_deleted(clone: DatabaseEngine):
    code = await codes.issue(ANNA, HOUR)
    assert await codes.invalidate("reset-password:ANNA@example.com")
    assert not await codes.invalidate(ANNA)
    assert not await codes.consume(ANNA, code)
    for n in range(5):
        await codes.issue(f"verify-email:u{n}@example.com", HOUR)
    await clone.execute("UPDATE verifications SET expires_at = now()")
    await codes.issue(ANNA, HOUR)
    assert [await codes.purge_expired(batch=3) for _ in range(3)] == [3, 2, 0]
    assert await codes.count() == 1


@pytest.mark.parametrize("wrong", ["", "x" * 256, "a\0", "\ud800", 5, None])
async def test_malformed_identifiers_are_rejected(db: DatabaseEngine, wrong: Any):
    with pytest.raises(InvalidValue) as caught:
        await codes.issue(wrong, HOUR)
    assert caught.value.fields == ("identifier",)
    assert not await codes.consume(wrong, "x")
    assert not await codes.invalidate(wrong)
    for ttl in (timedelta(0), 5, None):
        with pytest.raises(InvalidValue):
            await codes.issue(ANNA, ttl)  # type: ignore[arg-type]
