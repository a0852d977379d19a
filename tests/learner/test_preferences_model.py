"""Preferences against a dictionary that does the same: any operations in any order."""

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
UNCHOSEN = {
    "difficulty_preference": "intermediate",
    "preferred_formats": ["narrative", "podcast", "educational"],
    "preferred_genres": [],
    "playback_speed": Decimal(1),
    "auto_play": True,
}


@dataclass(frozen=True)
class Known:
    """What the model knows of a row; ``saved`` tells the order of the saves of all rows."""

    id: str
    session_id: str | None = None
    version: int = 1
    chosen: dict[str, Any] = field(default_factory=lambda: UNCHOSEN)
    saved: int = 0


class Model:
    def __init__(self) -> None:
        self.rows: dict[str, Known] = {}
        self.clock = count(1)

    def save(self, key: str, changes: dict, session_id: str | None, expect: int | None) -> Known:
        old = self.rows.get(key)
        if expect is not None and expect != (old.version if old else 1):
            raise StaleVersion("")
        version = 1 if old is None and expect is None else (old.version if old else 1) + 1
        old = old or Known(key)
        return self._store(
            replace(
                old,
                session_id=session_id or old.session_id,
                version=version,
                chosen={**old.chosen, **changes},
                saved=next(self.clock),
            )
        )

    def update(self, key: str, changes: dict) -> Known:
        if key not in self.rows:
            raise NotFound("")
        return self.save(key, changes, None, None) if changes else self.rows[key]

    def delete(self, key: str) -> bool:
        return self.rows.pop(key, None) is not None

    def get_or_default(self, key: str) -> Known:
        return self.rows.get(key, Known(key))

    def migrate_to_user(self, session_id: str, user_id: str) -> Known | None:
        users = self.rows.get(user_id)
        if session_id == user_id or session_id not in self.rows:
            return users
        moved = self.rows.pop(session_id)
        if users and users.saved > moved.saved:
            return users
        version = max(moved.version, users.version if users else 1) + 1
        return self._store(replace(moved, id=user_id, session_id=session_id, version=version))

    def find_for_session(self, session_id: str) -> Known | None:
        return self.rows.get(session_id)

    def _store(self, row: Known) -> Known:
        self.rows[row.id] = row
        return row


def seen(result: Any) -> Any:
    """A result of either, without times."""
    if isinstance(result, UserPreferences):
        chosen = {name: getattr(result, name) for name in UNCHOSEN}
        return result.id, result.session_id, result.version, chosen
    if isinstance(result, Known):
        return result.id, result.session_id, result.version, result.chosen
    return result


async def outcome(operation: str, *args: Any) -> Any:
    """What the repository does, or the kind of error it raises."""
    call = getattr(preferences, operation)
    try:
        if operation == "save":
            key, changes, session_id, expect = args
            given = UserPreferencesUpdate(**changes)
            saved = await call(key, given, session_id=session_id, expect_version=expect)
            return seen(saved)
        if operation == "update":
            return seen(await call(args[0], UserPreferencesUpdate(**args[1])))
        return seen(await call(*args))
    except DatabaseError as error:
        return type(error)


def expected(model: Model, operation: str, *args: Any) -> Any:
    try:
        return seen(getattr(model, operation)(*args))
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
async def test_preferences_behave_as_their_model(db: DatabaseEngine, steps: list[tuple]):
    await db.execute("DELETE FROM user_preferences")
    model = Model()
    for step in steps:
        wanted = expected(model, *step)
        event(f"{step[0]}: {wanted.__name__ if isinstance(wanted, type) else 'done'}")
        assert await outcome(*step) == wanted
        stored = [row async for row in preferences.stream()]
        assert [seen(row) for row in stored] == [
            seen(model.rows[key]) for key in sorted(model.rows)
        ]
        in_order = sorted(model.rows.values(), key=lambda row: row.saved)
        assert [row.id for row in sorted(stored, key=lambda row: row.last_updated)] == [
            row.id for row in in_order
        ]
        for key in IDS:
            found = await preferences.find_for_session(key)
            assert seen(found) == seen(model.find_for_session(key))
