"""Learner states: defaults, folds under a row lock, versions by time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import pytest
from msgspec.structs import replace

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import (
    InvalidValue,
    MissingReference,
    NotFound,
    StaleVersion,
)
from learner_app.learner.repositories import LearnerModelStateRepository
from learner_app.learner.rows import (
    LearnerModelState,
    LearnerModelStateCreate,
    LearnerModelStateUpdate,
)
from learner_app.listening.repositories import ListeningSessionRepository

states = LearnerModelStateRepository()
sessions = ListeningSessionRepository()

EQUAL = {"narrative": 0.33, "podcast": 0.33, "educational": 0.33}
MALFORMED = ["", "s\0", "s" * 256, "\ud800"]


@pytest.fixture
async def session(db: DatabaseEngine) -> str:
    await sessions.get_or_create("s1")
    return "s1"


async def created_state(session: str) -> LearnerModelState:
    state, created = await states.get_or_create(session)
    assert created
    return state


def count_one(state: LearnerModelState) -> LearnerModelState:
    return replace(state, data_points=state.data_points + 1)


def learned(state: LearnerModelState) -> tuple[object, ...]:
    """Return the learned fields, without key and times."""
    return tuple(getattr(state, name) for name in LearnerModelStateUpdate.model_fields)


async def test_the_default_is_not_stored(session: str):
    before = datetime.now(UTC)
    state = await states.get_or_default(session)
    assert learned(state) == (EQUAL, Decimal("0.50"), {}, Decimal("0.00"), 0)
    assert state.session_id == session
    assert before <= state.created_at == state.updated_at == state.last_updated
    assert not await states.exists(session)
    state.preference_weights["podcast"] = 1
    state.content_type_preferences["mystery"] = 1
    assert learned(await states.get_or_default(session)) == (EQUAL, Decimal("0.5"), {}, 0, 0)


@pytest.mark.parametrize("wrong", MALFORMED)
async def test_malformed_ids_are_not_found_and_not_stored(session: str, wrong: str):
    assert await states.find(wrong) is None
    assert (await states.get_or_default(wrong)).data_points == 0
    with pytest.raises(NotFound):
        await states.reset(wrong)
    with pytest.raises(NotFound):
        await states.update(wrong, LearnerModelStateUpdate(data_points=1), expect=datetime.now(UTC))
    for call in (states.get_or_create(wrong), states.fold(wrong, count_one)):
        with pytest.raises(InvalidValue) as caught:
            await call
        assert caught.value.fields == ("session_id",)
    assert await states.count() == 0


async def test_get_or_create_stores_the_default_once(session: str):
    first, created = await states.get_or_create(session)
    assert created
    assert learned(first) == learned(await states.get_or_default("s2"))
    assert repr(first.comprehension_level) == "Decimal('0.50')"
    folded = await states.fold(session, count_one)
    assert await states.get_or_create(session) == (folded, False)


async def test_states_of_missing_sessions_are_rejected(db: DatabaseEngine):
    for call in (states.get_or_create("nobody"), states.fold("nobody", count_one)):
        with pytest.raises(MissingReference) as caught:
            async with db.transaction():
                await call
        assert caught.value.fields == ("session_id",)
    assert await states.count() == 0, "the outer transaction is not usable"


async def test_fold_stores_the_result_of_the_function(session: str):
    weights = {"narrative": 1, "podcast": 0.1, "educational": 0}
    state = await states.fold(
        session,
        lambda old: replace(
            old,
            preference_weights=weights,
            comprehension_level=Decimal("0.605"),
            content_type_preferences={"mystery": {"è": [1, None]}},
            difficulty_adjustment=Decimal("-0.125"),
            data_points=old.data_points + 7,
        ),
    )
    assert learned(state) == (
        weights,
        Decimal("0.61"),
        {"mystery": {"è": [1, None]}},
        Decimal("-0.13"),
        7,
    )
    assert await states.get(session) == state
    again = await states.fold(session, count_one)
    assert learned(again) == (*learned(state)[:-1], 8)


@pytest.mark.parametrize("exists", [True, False])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("preference_weights", {"narrative": 1.01}),
        ("preference_weights", {"narrative": float("nan")}),
        ("preference_weights", {"opera": 0.5}),
        ("preference_weights", None),
        ("comprehension_level", Decimal("1.005")),
        ("comprehension_level", Decimal("NaN")),
        ("content_type_preferences", {"a": float("inf")}),
        ("content_type_preferences", {"a": "\0"}),
        ("content_type_preferences", {"a": "x" * 1_000_001}),
        ("difficulty_adjustment", Decimal("999.995")),
        ("data_points", -1),
        ("data_points", 2**31),
        ("session_id", "s2"),
        ("created_at", datetime(2026, 1, 1, tzinfo=UTC)),
        ("last_updated", datetime(2026, 1, 1, tzinfo=UTC)),
    ],
)
async def test_fold_rejects_invalid_values_and_read_only_fields(
    session: str, exists: bool, field: str, value: object
):
    before = await created_state(session) if exists else None
    with pytest.raises(InvalidValue) as caught:
        await states.fold(session, lambda old: replace(old, **{field: value}))
    assert caught.value.fields == (field,)
    assert await states.find(session) == before


async def versions(session: str) -> tuple[object, ...]:
    """Return system columns and times, which every write of the row changes."""
    sql = "SELECT xmin::text, ctid::text, updated_at, last_updated FROM learner_model_state"
    return tuple(await states.engine.fetchrow(f"{sql} WHERE session_id = $1", session) or ())


UNCHANGED = {
    "the same state": lambda old: old,
    "a copy": lambda old: replace(old, data_points=old.data_points),
    "equal values": lambda old: replace(
        old,
        preference_weights=dict(reversed(old.preference_weights.items())),
        comprehension_level=0.5,
        content_type_preferences={"a": [1, {"b": True}]},
        difficulty_adjustment=Decimal("0.000"),
    ),
    "arithmetic of floats": lambda old: replace(
        old, comprehension_level=float(old.comprehension_level) + 0.1 + 0.2 - 0.3
    ),
    "rounded by the caller": lambda old: replace(
        old, comprehension_level=round(old.comprehension_level + Decimal("0.004"), 2)
    ),
}


@pytest.mark.parametrize("change", UNCHANGED)
async def test_a_fold_without_a_change_writes_nothing(clone: DatabaseEngine, change: str):
    await sessions.get_or_create("s1")
    changes = LearnerModelStateUpdate(content_type_preferences={"a": [1, {"b": True}]})
    await states.get_or_create("s1")
    state = await states.update("s1", changes)
    before = await versions("s1")
    assert await states.fold("s1", UNCHANGED[change]) == state
    assert await versions("s1") == before


def reweigh_in_place(state: LearnerModelState) -> LearnerModelState:
    state.preference_weights["podcast"] = 0.9
    return state


@pytest.mark.parametrize(
    "fn",
    [
        reweigh_in_place,
        lambda old: replace(old, content_type_preferences={"a": True}),  # equal to 1 in Python
        lambda old: replace(old, difficulty_adjustment=Decimal("0.01")),
        lambda old: replace(old, comprehension_level=Decimal("0.505")),
    ],
)
async def test_a_fold_with_any_change_writes(clone: DatabaseEngine, fn):
    await sessions.get_or_create("s1")
    await states.get_or_create("s1")
    old = await states.update("s1", LearnerModelStateUpdate(content_type_preferences={"a": 1}))
    new = await states.fold("s1", fn)
    assert new == await states.get("s1")
    assert new.last_updated > old.last_updated
    assert repr(learned(new)) != repr(learned(old))


@pytest.mark.parametrize("field", ["comprehension_level", "difficulty_adjustment"])
@pytest.mark.parametrize("step", ["0.001", "-0.001", "0.0049", "1E-9"])
async def test_a_change_that_rounding_removes_is_invalid(session: str, field: str, step: str):
    before = await created_state(session)
    for exact in (Decimal(step), float(step)):
        if step == "1E-9" and isinstance(exact, float):
            continue  # as small as the error of float arithmetic

        def learn(old: LearnerModelState, exact: Decimal | float = exact) -> LearnerModelState:
            level = type(exact)(getattr(old, field)) + exact
            return replace(old, **{field: level}, data_points=old.data_points + 1)

        with pytest.raises(InvalidValue, match="2 decimal places") as caught:
            await states.fold(session, learn)
        assert caught.value.fields == (field,)
    assert await states.get(session) == before


async def test_small_steps_accumulate_in_an_exact_field(session: str):
    """The recommendation of docs/repositories.md."""

    def learn(old: LearnerModelState) -> LearnerModelState:
        exact = old.content_type_preferences.get("comprehension", float(old.comprehension_level))
        exact = min(max(exact + 0.001, 0), 1)
        return replace(
            old,
            content_type_preferences=old.content_type_preferences | {"comprehension": exact},
            comprehension_level=round(Decimal(exact), 2),
        )

    for _ in range(100):
        state = await states.fold(session, learn)
    assert state.comprehension_level == Decimal("0.60")


async def test_the_function_of_fold_must_return_a_state(session: str):
    with pytest.raises(InvalidValue) as caught:
        await states.fold(session, lambda _: None)  # type: ignore[arg-type, return-value]
    assert caught.value.fields == ("fn",)


@pytest.mark.parametrize("exists", [True, False])
async def test_a_function_that_raises_changes_nothing(session: str, exists: bool):
    before = await created_state(session) if exists else None

    def fail(state: LearnerModelState) -> LearnerModelState:
        state.preference_weights["podcast"] = 0.9
        raise ZeroDivisionError("error of the caller")

    with pytest.raises(ZeroDivisionError, match="error of the caller"):
        await states.fold(session, fail)
    assert await states.find(session) == before


async def test_update_changes_the_given_fields_only(session: str):
    first = await created_state(session)
    same = await states.update(session, LearnerModelStateUpdate())
    assert same == first, "the row was written"
    changed = await states.update(session, LearnerModelStateUpdate(comprehension_level=0.7))
    assert learned(changed) == (EQUAL, Decimal("0.70"), {}, 0, 0)
    assert changed.last_updated > first.last_updated
    with pytest.raises(NotFound):
        await states.update("s2", LearnerModelStateUpdate(data_points=1))
    for wrong in (
        {"last_updated": first.last_updated},
        {"session_id": "s2"},
        {"data_points": None},
    ):
        with pytest.raises(InvalidValue) as caught:
            LearnerModelStateUpdate(**wrong)
        assert caught.value.fields == tuple(wrong)


async def test_update_of_a_state_that_changed_after_the_expected_version_is_stale(session: str):
    known = await created_state(session)
    changes = LearnerModelStateUpdate(data_points=5)
    now = await states.update(session, changes, expect=known.last_updated)
    assert now.data_points == 5
    for stale in (changes, LearnerModelStateUpdate()):
        with pytest.raises(StaleVersion) as caught:
            await states.update(session, stale, expect=known.last_updated)
        assert caught.value.fields == ("last_updated",)
        assert await states.get(session) == now
    unchanged = await states.update(session, LearnerModelStateUpdate(), expect=now.last_updated)
    assert unchanged == now
    with pytest.raises(NotFound):
        await states.update("s2", changes, expect=now.last_updated)
    with pytest.raises(InvalidValue) as invalid:
        await states.update(session, changes, expect=datetime(2026, 1, 1))  # noqa: DTZ001
    assert invalid.value.fields == ("expect",)


async def test_no_two_writes_have_the_same_last_updated(session: str):
    await states.get_or_create(session)
    # as written with a clock that was ahead
    await states.engine.execute(
        "UPDATE learner_model_state SET last_updated = now() + interval '1 hour'"
    )
    rows = [await states.get(session)]
    for _ in range(3):
        rows.append(await states.fold(session, count_one))
        rows.append(await states.update(session, LearnerModelStateUpdate(data_points=0)))
        rows.append(await states.reset(session))
    times = [row.last_updated for row in rows]
    assert all(b - a == timedelta(microseconds=1) for a, b in pairwise(times))


async def test_reset_restores_the_defaults(session: str):
    first = await created_state(session)
    full = LearnerModelStateUpdate(
        preference_weights={"podcast": 1},
        comprehension_level=1,
        content_type_preferences={"a": 1},
        difficulty_adjustment=3,
        data_points=9,
    )
    await states.update(session, full)
    row = await states.reset(session)
    assert learned(row) == learned(first)
    assert row.created_at == first.created_at
    with pytest.raises(NotFound):
        await states.reset("s2")


async def test_list_stale_returns_the_oldest_states_first(db: DatabaseEngine):
    for name in ("s3", "s1", "s2"):
        await sessions.get_or_create(name)
        await states.get_or_create(name)
    last = (await states.get("s2")).last_updated
    assert [row.session_id for row in await states.list_stale(last)] == ["s3", "s1"]
    assert [row.session_id for row in await states.list_stale(last, limit=1)] == ["s3"]
    await states.fold("s3", count_one)
    late = datetime.now(UTC) + timedelta(days=1)
    assert [row.session_id for row in await states.list_stale(late)] == ["s1", "s2", "s3"]
    for limit in (0, 1001):
        with pytest.raises(InvalidValue):
            await states.list_stale(late, limit=limit)


async def test_list_stale_uses_the_index(db: DatabaseEngine):
    await db.execute("INSERT INTO sessions (id) SELECT 's' || n FROM generate_series(1, 5000) AS n")
    await db.execute(
        "INSERT INTO learner_model_state (session_id, preference_weights, comprehension_level,"
        " content_type_preferences, last_updated)"
        " SELECT 's' || n, '{}', 0, '{}', now() - interval '1 second' * n"
        " FROM generate_series(1, 5000) AS n"
    )
    await db.execute("ANALYZE learner_model_state")
    before = datetime.now(UTC) - timedelta(hours=1)
    found = await states.list_stale(before, limit=10)
    assert [row.session_id for row in found] == [f"s{n}" for n in range(5000, 4990, -1)]
    order = states.orders["least_recently_updated"]
    statement = states.statements.page(states.filters, ["learned_until"], order, 10, after=False)
    plan = await db.fetch(f"EXPLAIN {statement.sql}", before)
    assert "idx_learner_model_state_last_updated" in str(plan)


async def test_filters_apply_to_pages_counts_and_streams(db: DatabaseEngine):
    for n in range(5):
        await sessions.get_or_create(f"s{n}")
    await states.add_many(
        [LearnerModelStateCreate(session_id=f"s{n}", data_points=n) for n in range(5)]
    )
    assert await states.count() == 5
    assert await states.count(min_data_points=3) == 2
    page = await states.page(limit=2, total="exact", min_data_points=1)
    assert ([row.session_id for row in page.rows], page.total) == (["s1", "s2"], 4)
    page = await states.page(limit=2, after=page.next, min_data_points=1)
    assert ([row.session_id for row in page.rows], page.next) == (["s3", "s4"], None)
    time = (await states.get("s3")).last_updated
    later = [row.session_id async for row in states.stream(learned_since=time)]
    assert later == ["s3", "s4"]
    assert await states.count(learned_since=time, learned_until=time) == 0
    with pytest.raises(InvalidValue):
        await states.count(opera=1)  # type: ignore[call-arg]


async def test_states_are_deleted_alone_or_with_their_session(session: str):
    await states.get_or_create(session)
    assert await states.delete(session)
    assert not await states.delete(session)
    await states.get_or_create(session)
    await sessions.delete(session)
    assert not await states.exists(session)
