"""No operation reads a large table from end to end, whatever the planner knows of the values.

Every public method of every repository is here or in the list of exceptions, with its reason.
"""

import inspect
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from learner_app.conf import DB
from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.repositories import (
    BehavioralEventRepository,
    LikeRepository,
    ListeningSessionRepository,
)
from learner_app.listening.rows import (
    BehavioralEventUpdate,
    LikeCreate,
    LikeKey,
    LikeUpdate,
    ListeningSessionCreate,
    ListeningSessionUpdate,
)
from learner_app.repository.base import Repository
from tests.content.factories import new_content
from tests.listening.factories import event, new_event
from tests.volume.conftest import START, Million

pytestmark = pytest.mark.stress

content, sessions = ContentRepository(), ListeningSessionRepository()
events, likes = BehavioralEventRepository(), LikeRepository()
DAY = START + timedelta(days=1)
KEY = LikeKey("c7", "s1")
RARE = {"genre": "nothing like it"}
NOT_PLANNED = ("CREATE", "TRUNCATE", "SAVEPOINT", "\nCREATE")

AnyRepository = Repository[Any, Any, Any, Any]
Sent = list[tuple[str, tuple[Any, ...] | None]]


async def drained(rows: AsyncIterator[Any]) -> None:
    async for _row in rows:
        pass


async def prepare() -> None:
    """What some of the operations need."""
    await likes.like(KEY)
    await events.add(new_event("n1", content_id="c1", session_id="s1"))


async def sink(_rows: list[Any]) -> None: ...


async def incoming() -> AsyncIterator[dict[str, Any]]:
    for n in range(10):
        yield event(f"n{n}", session_id="s1", content_id="c1")


OPERATIONS: dict[AnyRepository, dict[str, Callable[[], Any]]] = {
    content: {
        "get": lambda: content.get("c1", lock="no key update"),
        "find": lambda: content.find("c1"),
        "get_many": lambda: content.get_many(["c1", "c2"]),
        "exists": lambda: content.exists("c1"),
        "add": lambda: content.add(new_content("n1")),
        "add_many": lambda: content.add_many([new_content("n2")]),
        "add_idempotent": lambda: content.add_idempotent(new_content("n1")),
        "update": lambda: content.update("c1", ContentUpdate(title="x")),
        "count": lambda: content.count(session_id="s1"),
        "page": lambda: content.page(format="podcast", limit=10),
        "search": lambda: content.search(format="podcast", generated_from=START),
        "stream": lambda: drained(content.stream(session_id="s1")),
        "attach_audio": lambda: content.attach_audio("c1", url="u", format="mp3", duration=1),
        "list_by_session": lambda: content.list_by_session("s1"),
        "list_series": lambda: content.list_series("s2", "series2"),
        "latest_episode": lambda: content.latest_episode("s2", "series2"),
        "next_episode_number": lambda: content.next_episode_number("s2", "series2"),
        "merge_metadata": lambda: content.merge_metadata("c1", {"a": 1}),
        "set_engagement_metrics": lambda: content.set_engagement_metrics("c1", {}),
        "set_quality_score": lambda: content.set_quality_score("c1", 1),
    },
    sessions: {
        "get": lambda: sessions.get("s1", lock="update"),
        "find": lambda: sessions.find("s1"),
        "get_many": lambda: sessions.get_many(["s1"]),
        "exists": lambda: sessions.exists("s1"),
        "add": lambda: sessions.add(ListeningSessionCreate(id="n1")),
        "add_many": lambda: sessions.add_many([ListeningSessionCreate(id="n2")]),
        "update": lambda: sessions.update("s1", ListeningSessionUpdate(total_listening_time=1)),
        "delete": lambda: sessions.delete("n1"),
        "count": lambda: sessions.count(active_to=DAY),
        "page": lambda: sessions.page(active_to=DAY),
        "stream": lambda: drained(sessions.stream(active_to=DAY)),
        "ensure": lambda: sessions.ensure("n3"),
        "touch": lambda: sessions.touch("s1"),
        "append_content": lambda: sessions.append_content("s1", "c5"),
        "append_many": lambda: sessions.append_many("s1", ["c6", "c7"]),
        "set_current": lambda: sessions.set_current("s1", "c1"),
        "move_next": lambda: sessions.move_next("s1"),
        "move_previous": lambda: sessions.move_previous("s1"),
        "next_content": lambda: sessions.next_content("s1"),
        "previous_content": lambda: sessions.previous_content("s1"),
        "position": lambda: sessions.position("s1"),
        "list_content": lambda: sessions.list_content("s1"),
        "remove_content": lambda: sessions.remove_content("s1", "c1"),
        "add_listening_time": lambda: sessions.add_listening_time("s1", 1),
        "clear": lambda: sessions.clear("s1"),
        "list_inactive": lambda: sessions.list_inactive(DAY),
        "delete_inactive": lambda: sessions.delete_inactive(START + timedelta(hours=1), batch=5),
    },
    events: {
        "get": lambda: events.get("e0000001"),
        "find": lambda: events.find("e0000001"),
        "get_many": lambda: events.get_many(["e0000001", "e0000002"]),
        "exists": lambda: events.exists("e0000001"),
        "add": lambda: events.add(new_event("n6")),
        "add_many": lambda: events.add_many([new_event("n2")]),
        "update": lambda: events.update("n1", BehavioralEventUpdate(network_type="4g")),
        "delete": lambda: events.delete("n1"),
        "count": lambda: events.count(session_id="s1"),
        "page": lambda: events.page(content_id="c1", total="exact"),
        "stream": lambda: drained(events.stream(session_id="s1")),
        "record": lambda: events.record(new_event("n3")),
        "record_batch": lambda: events.record_batch(
            [event("n4"), event("n5")], ensure_sessions=True
        ),
        "ingest": lambda: events.ingest(incoming(), ensure_sessions=True),
        "list_for_session": lambda: events.list_for_session("s1", since=START, types=["play"]),
        "list_for_content": lambda: events.list_for_content("c1", until=DAY),
        "recent_for_session": lambda: events.recent_for_session("s1", 5),
        "count_by_type": lambda: events.count_by_type(content_id="c1"),
        "find_by_characteristics": lambda: events.find_by_characteristics(RARE),
        "engagement_for_content": lambda: events.engagement_for_content("c1"),
        "engagement_for_contents": lambda: events.engagement_for_contents(["c1", "c2"]),
        "engagement_by": lambda: events.engagement_by("genre", since=START, until=DAY),
        "delete_before": lambda: events.delete_before(DAY, batch=10),
        "archive_before": lambda: events.archive_before(DAY, sink, batch=10),
        "export": lambda: drained(events.export(session_id="s1")),
    },
    likes: {
        "get": lambda: likes.get(LikeKey("c0", "s0")),
        "find": lambda: likes.find(KEY),
        "get_many": lambda: likes.get_many([KEY, LikeKey("c0", "s0")]),
        "exists": lambda: likes.exists(KEY),
        "add": lambda: likes.add(LikeCreate(content_id="c1", session_id="s9")),
        "add_many": lambda: likes.add_many([LikeCreate(content_id="c1", session_id="s10")]),
        "update": lambda: likes.update(LikeKey("c0", "s0"), LikeUpdate(reaction_type="love")),
        "delete": lambda: likes.delete(LikeKey("c1", "s9")),
        "count": lambda: likes.count(session_id="s1"),
        "page": lambda: likes.page(content_id="c1"),
        "stream": lambda: drained(likes.stream(session_id="s1")),
        "like": lambda: likes.like(KEY),
        "unlike": lambda: likes.unlike(KEY),
        "toggle": lambda: likes.toggle(KEY),
        "map_for_contents": lambda: likes.map_for_contents("s1", ["c1", "c7"]),
        "list_for_session": lambda: likes.list_for_session("s1"),
        "count_likes": lambda: likes.count_likes("c1"),
        "count_by": lambda: likes.count_by("genre"),
        "top_content": lambda: likes.top_content(),
    },
}

EXEMPT = {
    (sessions, "delete_content"): "the agreed schema has no index on the pieces of sessions",
}


def public(repository: AnyRepository) -> Iterator[str]:
    for name, member in inspect.getmembers(type(repository), inspect.isfunction):
        if member and not name.startswith("_"):
            yield name


@pytest.mark.parametrize("repository", OPERATIONS, ids=lambda one: one.table._meta.tablename)
def test_every_operation_is_here(repository: AnyRepository):
    exempt = {name for one, name in EXEMPT if one is repository}
    assert set(public(repository)) == set(OPERATIONS[repository]) | exempt


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> Sent:
    """The statements that repositories send, with their values."""
    statements: Sent = []

    def noted(method: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def note(engine: DatabaseEngine, sql: str, *args: Any, **options: Any) -> Any:
            statements.append((sql, args))
            return await method(engine, sql, *args, **options)

        return note

    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        monkeypatch.setattr(DatabaseEngine, name, noted(getattr(DatabaseEngine, name)))
    perform = DatabaseEngine.perform

    async def note_many(engine: DatabaseEngine, work: Any, sql: str = "", **options: Any) -> Any:
        if sql != "COPY" and all(known != sql for known, _args in statements):
            statements.append((sql, None))
        return await perform(engine, work, sql, **options)

    monkeypatch.setattr(DatabaseEngine, "perform", note_many)
    return statements


def scanned(plan: dict[str, Any]) -> Iterator[str]:
    if plan["Node Type"] == "Seq Scan" and plan["Relation Name"] != "incoming_events":
        yield plan["Relation Name"]
    for inner in plan.get("Plans", ()):
        yield from scanned(inner)


async def plan_for(sql: str, args: tuple[Any, ...]) -> dict[str, Any]:
    """The plan that is made when the values are known."""
    return json.loads(await DB.fetchval(f"EXPLAIN (FORMAT JSON) {sql}", *args))[0]["Plan"]


async def plan_for_any(sql: str) -> dict[str, Any]:
    """The plan that the server may go over to once a statement was used a few times."""
    await DB.execute("SET LOCAL plan_cache_mode = force_generic_plan")
    values = ", ".join("NULL" for _ in set(re.findall(r"\$\d+", sql)))
    nulls = f"({values})" if values else ""
    async with DB.connection() as connection:
        await connection.execute(f"PREPARE probe AS {sql}")
        plan = await connection.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE probe{nulls}")
        await connection.execute("DEALLOCATE probe")
    return json.loads(plan)[0]["Plan"]


@pytest.mark.parametrize(
    ("repository", "name"),
    [(one, name) for one, operations in OPERATIONS.items() for name in operations],
    ids=lambda value: value if isinstance(value, str) else value.table._meta.tablename,
)
async def test_no_sequential_scan(
    million: Million, sent: Sent, repository: AnyRepository, name: str
):
    with suppress(Undone):
        async with DB.transaction():
            await prepare()
            del sent[:]
            await OPERATIONS[repository][name]()
            statements = [one for one in sent if not one[0].startswith(NOT_PLANNED)]
            assert statements
            for sql, args in statements:
                assert not list(scanned(await plan_for_any(sql))), sql
                if args is not None:
                    assert not list(scanned(await plan_for(sql, args))), sql
            raise Undone


async def test_characteristics_are_found_by_their_index(million: Million, sent: Sent):
    async with DB.transaction():
        await check_characteristics(sent)


async def check_characteristics(sent: Sent) -> None:
    await events.find_by_characteristics(RARE)
    await events.find_by_characteristics({"template_id": "t7"})
    await events.find_by_characteristics({"format": "podcast"})
    index = "idx_behavioral_events_content_characteristics"
    for sql, args in list(sent):
        assert args is not None
        for plan in (await plan_for(sql, args), await plan_for_any(sql)):
            assert index in json.dumps(plan)


class Undone(Exception):
    """Rolls back what the operation did."""
