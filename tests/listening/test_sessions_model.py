"""Any sequence of operations on a session agrees with a simple model in memory."""

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue, MissingReference, StaleVersion
from learner_app.listening.repositories import ListeningSessionRepository
from tests.content.factories import new_content
from tests.examples import examples

sessions, contents = ListeningSessionRepository(), ContentRepository()
CONTENT_IDS = ["a", "b", "c", "d"]


@dataclass
class Model:
    """Model of one session and of the existing contents."""

    exists: list[str] = field(default_factory=lambda: list(CONTENT_IDS))
    items: list[str] = field(default_factory=list)
    current: str | None = None
    seconds: int = 0

    def append(self, content_ids: list[str], make_current: bool) -> Any:
        if any(content_id not in self.exists for content_id in content_ids):
            return MissingReference
        results = []
        for content_id in content_ids:
            is_new = content_id not in self.items
            self.items += [content_id] * is_new
            results.append((self.items.index(content_id), is_new))
        if make_current and content_ids:
            self.current = content_ids[0]
        return results

    def remove(self, content_id: str) -> Any:
        if self.current == content_id:
            at = self.items.index(content_id)
            around = [*reversed(self.items[:at]), *self.items[at + 1 :]]
            self.current = next(iter(around), None)
        self.items = [item for item in self.items if item != content_id]
        return self.current

    def delete(self, content_id: str) -> Any:
        existed = content_id in self.exists
        self.exists = [one for one in self.exists if one != content_id]
        self.remove(content_id)
        return existed

    def move(self, step: int, expected: str | None) -> Any:
        if expected is not None and expected != self.current:
            return StaleVersion
        at = (self.items.index(self.current) if self.current else -1) + step
        if not (0 <= at < len(self.items)) or (self.current is None and step < 0):
            return None
        self.current = self.items[at]
        return self.current

    def set_current(self, content_id: str) -> Any:
        if content_id not in self.items:
            return InvalidValue
        self.current = content_id
        return content_id

    def listen(self, seconds: int) -> Any:
        if not 0 <= seconds <= 1800:
            return InvalidValue
        self.seconds += seconds
        return self.seconds


CONTENT_ID = st.sampled_from(CONTENT_IDS)
STEP = st.one_of(
    st.tuples(st.just("append"), st.lists(CONTENT_ID, max_size=3), st.booleans()),
    st.tuples(st.just("remove"), CONTENT_ID),
    st.tuples(st.just("delete"), CONTENT_ID),
    st.tuples(st.just("move"), st.sampled_from([-1, 1]), st.one_of(st.none(), CONTENT_ID)),
    st.tuples(st.just("set_current"), CONTENT_ID),
    st.tuples(st.just("listen"), st.integers(-10, 2000)),
)


async def execute(name: str, *args: Any) -> Any:
    """Execute a step on the repository and return its result in the form of the model's."""
    match name:
        case "append":
            return await sessions.append_many("s1", args[0], make_current=args[1])
        case "remove":
            return (await sessions.remove_content("s1", args[0])).current_content_id
        case "delete":
            return await sessions.delete_content(args[0])
        case "move":
            move = sessions.move_next if args[0] > 0 else sessions.move_previous
            content = await move("s1", expect=args[1])
            return content and content.id
        case "set_current":
            return (await sessions.set_current("s1", args[0])).current_content_id
        case "listen":
            return (await sessions.add_listening_time("s1", args[0])).total_listening_time


@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEP, max_size=25))
async def test_any_sequence_of_steps_agrees_with_the_model(db: DatabaseEngine, steps: list[Any]):
    await sessions.delete("s1")
    for content_id in CONTENT_IDS:
        await sessions.delete_content(content_id)
    await contents.add_many([new_content(content_id) for content_id in CONTENT_IDS])
    await sessions.get_or_create("s1")
    model = Model()
    for name, *args in steps:
        expected = getattr(model, name)(*args)
        if isinstance(expected, type):
            with pytest.raises(expected):
                await execute(name, *args)
        else:
            assert await execute(name, *args) == expected
    row = await sessions.get("s1")
    assert (row.content_ids, row.current_content_id) == (model.items, model.current)
    assert row.total_listening_time == model.seconds
    assert [content.id for content in await sessions.list_content("s1")] == model.items
    place = model.items.index(model.current) if model.current else None
    assert await sessions.position("s1") == (place, len(model.items))
    following = await sessions.next_content("s1")
    at = -1 if place is None else place
    assert (following and following.id) == next(iter(model.items[at + 1 :]), None)
