"""Any sequence of operations leaves a session as a simple model in memory says."""

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
PIECES = ["a", "b", "c", "d"]


@dataclass
class Model:
    """One session and the pieces that exist, in lists."""

    exists: list[str] = field(default_factory=lambda: list(PIECES))
    items: list[str] = field(default_factory=list)
    current: str | None = None
    seconds: int = 0

    def append(self, pieces: list[str], make_current: bool) -> Any:
        if any(piece not in self.exists for piece in pieces):
            return MissingReference
        told = []
        for piece in pieces:
            is_new = piece not in self.items
            self.items += [piece] * is_new
            told.append((self.items.index(piece), is_new))
        if make_current and pieces:
            self.current = pieces[0]
        return told

    def remove(self, piece: str) -> Any:
        if self.current == piece:
            at = self.items.index(piece)
            around = [*reversed(self.items[:at]), *self.items[at + 1 :]]
            self.current = next(iter(around), None)
        self.items = [item for item in self.items if item != piece]
        return self.current

    def delete(self, piece: str) -> Any:
        was_there = piece in self.exists
        self.exists = [one for one in self.exists if one != piece]
        self.remove(piece)
        return was_there

    def move(self, step: int, expected: str | None) -> Any:
        if expected is not None and expected != self.current:
            return StaleVersion
        at = (self.items.index(self.current) if self.current else -1) + step
        if not (0 <= at < len(self.items)) or (self.current is None and step < 0):
            return None
        self.current = self.items[at]
        return self.current

    def set_current(self, piece: str) -> Any:
        if piece not in self.items:
            return InvalidValue
        self.current = piece
        return piece

    def listen(self, seconds: int) -> Any:
        if not 0 <= seconds <= 1800:
            return InvalidValue
        self.seconds += seconds
        return self.seconds


PIECE = st.sampled_from(PIECES)
STEP = st.one_of(
    st.tuples(st.just("append"), st.lists(PIECE, max_size=3), st.booleans()),
    st.tuples(st.just("remove"), PIECE),
    st.tuples(st.just("delete"), PIECE),
    st.tuples(st.just("move"), st.sampled_from([-1, 1]), st.one_of(st.none(), PIECE)),
    st.tuples(st.just("set_current"), PIECE),
    st.tuples(st.just("listen"), st.integers(-10, 2000)),
)


async def do(name: str, *args: Any) -> Any:
    """The same step by the repository, with the same answer."""
    match name:
        case "append":
            return await sessions.append_many("s1", args[0], make_current=args[1])
        case "remove":
            return (await sessions.remove_content("s1", args[0])).current_content_id
        case "delete":
            return await sessions.delete_content(args[0])
        case "move":
            move = sessions.move_next if args[0] > 0 else sessions.move_previous
            piece = await move("s1", expected_current=args[1])
            return piece and piece.id
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
async def test_any_sequence_does_what_the_model_does(db: DatabaseEngine, steps: list[Any]):
    await sessions.delete("s1")
    for piece in PIECES:
        await sessions.delete_content(piece)
    await contents.add_many([new_content(piece) for piece in PIECES])
    await sessions.ensure("s1")
    model = Model()
    for name, *args in steps:
        expected = getattr(model, name)(*args)
        if isinstance(expected, type):
            with pytest.raises(expected):
                await do(name, *args)
        else:
            assert await do(name, *args) == expected
    row = await sessions.get("s1")
    assert (row.content_ids, row.current_content_id) == (model.items, model.current)
    assert row.total_listening_time == model.seconds
    assert [piece.id for piece in await sessions.list_content("s1")] == model.items
    place = model.items.index(model.current) if model.current else None
    assert await sessions.position("s1") == (place, len(model.items))
    following = await sessions.next_content("s1")
    at = -1 if place is None else place
    assert (following and following.id) == next(iter(model.items[at + 1 :]), None)
