"""Jobs of content generation: rows, what may be given to add and change them, and filters."""

from datetime import datetime, timedelta
from typing import Annotated, Literal, NamedTuple

from pydantic import Field
from typing_extensions import TypedDict

from learner_app.content.rows import Content
from learner_app.generation.tables import GenerationStatusTable
from learner_app.repository.inputs import Input
from learner_app.repository.rows import Row
from learner_app.repository.values import HttpUrlText1000, Key, NonNegativeInt, UtcDatetime, new_key

Status = Literal["generating", "processing", "completed", "failed"]

Age = Annotated[timedelta, Field(strict=True, ge=timedelta(), le=timedelta(days=3650))]
"""How long ago something was; at most ten years."""


class Generation(Row, frozen=True):
    """A job that makes content for a session."""

    generation_id: str
    session_id: str
    status: Status
    """``generating`` waits, ``processing`` is claimed; the others are final."""
    content_id: str | None
    """What came of it; None also when that was deleted since."""
    webhook_url: str | None
    webhook_sent: bool
    error_message: str | None
    estimated_completion_time: int | None
    """In seconds."""
    started_at: datetime
    """Start of the current or last attempt. Until the first claim, when the job was asked for;
    after a requeue, when the job was requeued. It identifies the claim."""
    completed_at: datetime | None
    """When it was completed or failed."""
    created_at: datetime
    updated_at: datetime


class Started(NamedTuple):
    """A job, and whether it was made by this call."""

    generation: Generation
    created: bool


class GenerationWithContent(NamedTuple):
    """A job and what came of it, None as long as there is nothing."""

    generation: Generation
    content: Content | None


class GenerationCreate(Input, table=GenerationStatusTable):
    """A new job, which waits; its id is made where none is given."""

    generation_id: Key = Field(default_factory=new_key)
    session_id: Key
    webhook_url: HttpUrlText1000 | None = None
    """Called when the job is finished."""
    estimated_completion_time: NonNegativeInt | None = None
    """In seconds."""


class GenerationUpdate(Input, table=GenerationStatusTable):
    """Changes of a job; where it stands changes by operations of its own."""

    webhook_url: HttpUrlText1000 | None = None
    """None gives up a webhook that was not sent yet."""
    estimated_completion_time: NonNegativeInt | None = None


class GenerationFilters(TypedDict, total=False):
    """Each narrows the selection."""

    session_id: str
    content_id: str
    status: Status
    webhook_sent: bool
    started_since: UtcDatetime
    """``started_at`` is then or later."""
    started_until: UtcDatetime
    """``started_at`` is before then."""
