"""No operation reads a large table from end to end, whatever the planner knows of the values.

Every public method of every repository is here or in the list of exceptions, with its reason.
"""

import inspect
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from tests.repository.declarations import EXTENSION_POINTS
from tests.volume.million import Million
from tests.volume.operations import (
    EXEMPT,
    OPERATIONS,
    READ_WHOLE,
    AnyRepository,
    events,
    prepare,
)

pytestmark = pytest.mark.stress

NOT_PLANNED = ("CREATE", "TRUNCATE", "SAVEPOINT", "\nCREATE")
RARE = {"genre": "nothing like it"}

Sent = list[tuple[str, tuple[Any, ...] | None]]


def public(repository: AnyRepository) -> Iterator[str]:
    for name, member in inspect.getmembers(type(repository), inspect.isfunction):
        if member and not name.startswith("_") and name not in EXTENSION_POINTS:
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
    if plan["Node Type"] == "Seq Scan":
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
                plans = [await plan_for_any(sql)]
                if args is not None:
                    plans.append(await plan_for(sql, args))
                for plan in plans:
                    assert not {*scanned(plan)} - READ_WHOLE.get((repository, name), set()), sql
            raise Undone


async def test_rare_characteristics_are_found_by_their_index(million: Million, sent: Sent):
    async with DB.transaction():
        await events.find_by_characteristics(RARE)
        await events.find_by_characteristics({"recent": True})
        (sample, args), (search, _), *_ = sent
        assert args is not None
        for plan in (await plan_for(search, args), await plan_for_any(search)):
            assert "idx_behavioral_events_content_characteristics" in json.dumps(plan)
            assert "Gather" not in json.dumps(plan)
        for plan in (await plan_for(sample, args), await plan_for_any(sample)):
            assert "idx_behavioral_events_timestamp" in json.dumps(plan)


class Undone(Exception):
    """Rolls back what the operation did."""
