"""Any sequence of operations on preferences agrees with a model based on a dictionary."""

from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import count
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from learner_app.database.engine import DatabaseEngine
from learner_app.errors import DatabaseError, NotFound, StaleVersion
from learner_app.learner.repositories import UserPreferencesRepository
from learner_app.learner.rows import FORMATS, UserPreferences, UserPreferencesUpdate
from tests.examples import examples

preferences = UserPreferencesRepository()

IDS = ["s1", "s2", "u1", "u2"]
DEFAULTS = {
    "difficulty_preference": "intermediate",
    "preferred_formats": ["narrative", "podcast", "educational"],
    "preferred_genres": [],
    "playback_speed": Decimal(1),
    "auto_play": True,
}


@dataclass(frozen=True)
class ModelRow:
    """Row of the model, with the number of its last save among the saves of all rows."""

    id: str
    session_id: str | None = None
    version: int = 1
    chosen: dict[str, Any] = field(default_factory=lambda: DEFAULTS)
    saved: int = 0


class Model:
    def __init__(self) -> None:
        self.rows: dict[str, ModelRow] = {}
        self.clock = count(1)

    def save(self, key: str, changes: dict, session_id: str | None, expect: int | None) -> ModelRow:
        old = self.rows.get(key)
        if expect is not None and expect != (old.version if old else 1):
            raise StaleVersion("")
        version = 1 if old is None and expect is None else (old.version if old else 1) + 1
        old = old or ModelRow(key)
        return self._store(
            replace(
                old,
                session_id=session_id or old.session_id,
                version=version,
                chosen={**old.chosen, **changes},
                saved=next(self.clock),
            )
        )

    def update(self, key: str, changes: dict) -> ModelRow:
        if key not in self.rows:
            raise NotFound("")
        return self.save(key, changes, None, None) if changes else self.rows[key]

    def delete(self, key: str) -> bool:
        return self.rows.pop(key, None) is not None

    def get_or_default(self, key: str) -> ModelRow:
        return self.rows.get(key, ModelRow(key))

    def migrate_to_user(self, session_id: str, user_id: str) -> ModelRow | None:
        users = self.rows.get(user_id)
        if session_id == user_id or session_id not in self.rows:
            return users
        moved = self.rows.pop(session_id)
        if users and users.saved > moved.saved:
            return users
        version = max(moved.version, users.version if users else 1) + 1
        return self._store(replace(moved, id=user_id, session_id=session_id, version=version))

    def find_for_session(self, session_id: str) -> ModelRow | None:
        return self.rows.get(session_id)

    def _store(self, row: ModelRow) -> ModelRow:
        self.rows[row.id] = row
        return row


def comparable(result: Any) -> Any:
    """Return the comparable form of a result of the repository or the model, without times."""
    if isinstance(result, UserPreferences):
        chosen = {name: getattr(result, name) for name in DEFAULTS}
        return result.id, result.session_id, result.version, chosen
    if isinstance(result, ModelRow):
        return result.id, result.session_id, result.version, result.chosen
    return result


async def outcome(operation: str, *args: Any) -> Any:
    """Return the result of the repository, or the class of the error."""
    call = getattr(preferences, operation)
    try:
        if operation == "save":
            key, changes, session_id, expect = args
            update = UserPreferencesUpdate(**changes)
            saved = await call(key, update, session_id=session_id, expect=expect)
            return comparable(saved)
        if operation == "update":
            return comparable(await call(args[0], UserPreferencesUpdate(**args[1])))
        return comparable(await call(*args))
    except DatabaseError as error:
        return type(error)


def expected(model: Model, operation: str, *args: Any) -> Any:
    try:
        return comparable(getattr(model, operation)(*args))
    except DatabaseError as error:
        return type(error)


ids = st.sampled_from(IDS)
changes = st.fixed_dictionaries(
    {},
    optional={
        "difficulty_preference": st.sampled_from(["beginner", "intermediate", "advanced"]),
        "preferred_formats": st.lists(st.sampled_from(FORMATS), unique=True),
        "preferred_genres": st.lists(st.sampled_from(["mystery", "è", "a,b", '"', "{}"])),
        "playback_speed": st.decimals(Decimal("0.25"), 4, places=2),
        "auto_play": st.booleans(),
    },
)
operations = st.one_of(
    st.tuples(st.just("save"), ids, changes, st.none() | ids, st.none() | st.integers(1, 5)),
    st.tuples(st.just("save"), ids, changes, st.none() | ids, st.none()),
    st.tuples(st.just("update"), ids, changes),
    st.tuples(st.just("delete"), ids),
    st.tuples(st.just("get_or_default"), ids),
    st.tuples(st.just("migrate_to_user"), ids, ids),
)


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(operations, min_size=5, max_size=25))
async def test_any_sequence_of_operations_agrees_with_the_model(
    db: DatabaseEngine, steps: list[tuple]
):
    await db.execute("DELETE FROM user_preferences")
    model = Model()
    for step in steps:
        wanted = expected(model, *step)
        event(f"{step[0]}: {wanted.__name__ if isinstance(wanted, type) else 'done'}")
        assert await outcome(*step) == wanted
        stored = [row async for row in preferences.stream()]
        assert [comparable(row) for row in stored] == [
            comparable(model.rows[key]) for key in sorted(model.rows)
        ]
        in_order = sorted(model.rows.values(), key=lambda row: row.saved)
        assert [row.id for row in sorted(stored, key=lambda row: row.last_updated)] == [
            row.id for row in in_order
        ]
        for key in IDS:
            found = await preferences.find_for_session(key)
            assert comparable(found) == comparable(model.find_for_session(key))
