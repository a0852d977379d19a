"""Jobs for tests."""

from datetime import UTC, datetime
from typing import Any

from learner_app.generation.repositories import GenerationRepository
from learner_app.generation.rows import Generation, GenerationCreate
from learner_app.generation.tables import GenerationStatusTable
from learner_app.listening.repositories import ListeningSessionRepository

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def new_job(generation_id: str = "g1", session_id: str = "s1", **fields: Any) -> GenerationCreate:
    return GenerationCreate(generation_id=generation_id, session_id=session_id, **fields)


async def add_sessions(*ids: str) -> None:
    for one in ids:
        await ListeningSessionRepository().get_or_create(one)


async def add_jobs(*ids: str, **fields: Any) -> list[Generation]:
    return [await GenerationRepository().add(new_job(one, **fields)) for one in ids]


async def add_as_is(generation_id: str, **columns: Any) -> Generation:
    """Insert a job in a state that no operation of the repository creates."""
    given = {"session_id": "s1", "status": "generating", **columns}
    row = GenerationStatusTable(generation_id=generation_id, **given)
    for moment in ("started_at", "created_at", "updated_at"):
        row[moment] = given.get(moment, LONG_AGO)
    await GenerationStatusTable.insert(row)
    return await GenerationRepository().get(generation_id)
