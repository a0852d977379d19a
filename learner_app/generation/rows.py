"""Rows, inputs and filters of the jobs that generate content."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from learner_app.content.rows import Content
from learner_app.generation.tables import GenerationStatusTable
from learner_app.repository.inputs import Input
from learner_app.repository.rows import Row
from learner_app.repository.values import HttpUrlText1000, Key, NonNegativeInt, UtcDatetime, new_key

__all__ = [
    "Generation",
    "GenerationCreate",
    "GenerationFilters",
    "GenerationUpdate",
    "GenerationWithContent",
    "Status",
]

Status = Literal["generating", "processing", "completed", "failed"]

Age = Annotated[timedelta, Field(strict=True, ge=timedelta(), le=timedelta(days=3650))]
"""Age of a job: zero to ten years."""


class Generation(Row, frozen=True):
    """Job that generates content for a session."""

    generation_id: str
    session_id: str
    status: Status
    """``generating``: waiting; ``processing``: claimed; ``completed`` and ``failed`` are final."""
    content_id: str | None
    """The generated content; None before completion, or if the content was deleted."""
    webhook_url: str | None
    webhook_sent: bool
    error_message: str | None
    estimated_completion_time: int | None
    """In seconds."""
    started_at: datetime
    """Start of the current or last attempt, which identifies the claim.

    Until the first claim, it is the time of the request; after a requeue, the time of the requeue.
    """
    completed_at: datetime | None
    """Time of completion or failure."""
    created_at: datetime
    updated_at: datetime


class GenerationWithContent(NamedTuple):
    """Job and the generated content, None if it does not exist."""

    generation: Generation
    content: Content | None


class GenerationCreate(Input, table=GenerationStatusTable):
    """New job, which waits for a worker. An omitted id is generated."""

    generation_id: Key = Field(default_factory=new_key)
    session_id: Key
    webhook_url: HttpUrlText1000 | None = None
    """URL to call when the job is finished."""
    estimated_completion_time: NonNegativeInt | None = None
    """In seconds."""


class GenerationUpdate(Input, table=GenerationStatusTable):
    """Changes of a job. The operations of the queue change its status."""

    webhook_url: HttpUrlText1000 | None = None
    """None cancels a webhook that has not been sent yet."""
    estimated_completion_time: NonNegativeInt | None = None


class GenerationFilters(TypedDict, total=False):
    """Filters, combined with AND."""

    session_id: str
    content_id: str
    status: Status
    webhook_sent: bool
    started_since: UtcDatetime
    """Earliest ``started_at``, inclusive."""
    started_until: UtcDatetime
    """Latest ``started_at``, exclusive."""
