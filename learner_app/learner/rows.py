"""Learner states and preferences: rows, what may be given to add and change them, and filters."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BeforeValidator, Field
from typing_extensions import TypedDict

from learner_app.content.rows import Format
from learner_app.learner.owner_ids import owner_id
from learner_app.learner.tables import LearnerModelStateTable, UserPreferencesTable
from learner_app.repository.inputs import UNSET, Input
from learner_app.repository.rows import Row
from learner_app.repository.values import (
    AS_NUMBER,
    NUMBER,
    JsonObject,
    Key,
    NonNegativeInt,
    StrictBool,
    Text100,
    UnitInterval,
    UtcDatetime,
    between,
    numeric,
)

FORMATS: tuple[Format, ...] = get_args(Format)
MOST_GENRES = 100

DifficultyLevel = Literal["beginner", "intermediate", "advanced"]


def _equal_weights() -> dict[Format, float]:
    return dict.fromkeys(FORMATS, 0.33)


def _without_duplicates(formats: list[Format]) -> list[Format]:
    if len(set(formats)) < len(formats):
        raise ValueError("must not name a format twice")
    return formats


Weight = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Weights = dict[Format, Weight]
"""From 0 to 1 for any of the formats."""

Adjustment = Annotated[Decimal, NUMBER, numeric(5, 2), AS_NUMBER]
"""Below 1,000 either way, in hundredths."""

Formats = Annotated[list[Format], AfterValidator(_without_duplicates)]
Genres = Annotated[list[Text100], Field(max_length=MOST_GENRES)]

OwnerId = Annotated[Key, BeforeValidator(owner_id)]

Speed = Annotated[
    Decimal, NUMBER, numeric(3, 2), AfterValidator(between(Decimal("0.25"), 4)), AS_NUMBER
]
"""From a quarter of the recorded speed to four times, in hundredths."""


class LearnerModelState(Row, frozen=True):
    """What the adaptive model has learned in a listening session."""

    session_id: str
    preference_weights: dict[Format, float]
    """From 0 to 1."""
    comprehension_level: Decimal
    """From 0 to 1."""
    content_type_preferences: dict[str, Any]
    difficulty_adjustment: Decimal
    """Added to the difficulty asked for."""
    last_updated: datetime
    """When it last learned; no two writes have the same, so it serves as a version."""
    data_points: int
    """How many events went into it."""
    created_at: datetime
    updated_at: datetime


class LearnerModelStateCreate(Input, table=LearnerModelStateTable):
    """A new state; what is left out is as before anything was learned."""

    session_id: Key
    preference_weights: Weights = Field(default_factory=_equal_weights)
    comprehension_level: UnitInterval = Decimal("0.50")
    content_type_preferences: JsonObject = Field(default_factory=dict)
    difficulty_adjustment: Adjustment = Decimal("0.00")
    data_points: NonNegativeInt = 0


class LearnerModelStateUpdate(Input, table=LearnerModelStateTable):
    """Changes of a state."""

    preference_weights: Weights = UNSET
    comprehension_level: UnitInterval = UNSET
    content_type_preferences: JsonObject = UNSET
    difficulty_adjustment: Adjustment = UNSET
    data_points: NonNegativeInt = UNSET


class LearnerModelStateFilters(TypedDict, total=False):
    """Each narrows the selection."""

    learned_since: UtcDatetime
    """Last learned then or later."""
    learned_until: UtcDatetime
    """Last learned before then."""
    min_data_points: NonNegativeInt


class UserPreferences(Row, frozen=True):
    """The settings that a learner chose."""

    id: str
    """The user's id once signed in, else the listening session's id; a UUID is in lower case."""
    session_id: str | None
    """The listening session they were made in, where it is known; it may be gone."""
    difficulty_preference: DifficultyLevel
    preferred_formats: list[Format]
    preferred_genres: list[str]
    playback_speed: Decimal
    """1 is the speed of the recording."""
    auto_play: bool
    """Whether the next piece starts by itself."""
    last_updated: datetime
    """When the learner last saved them."""
    version: int
    """Counts the writes, from 1."""
    created_at: datetime
    updated_at: datetime


class UserPreferencesCreate(Input, table=UserPreferencesTable):
    """New preferences; what is left out is as it is for somebody who chose nothing."""

    id: OwnerId
    session_id: Key | None = None
    difficulty_preference: DifficultyLevel = "intermediate"
    preferred_formats: Formats = Field(default_factory=lambda: list(FORMATS))
    preferred_genres: Genres = Field(default_factory=list)
    playback_speed: Speed = Decimal("1.00")
    auto_play: StrictBool = True


class UserPreferencesUpdate(Input, table=UserPreferencesTable):
    """Changes of preferences."""

    difficulty_preference: DifficultyLevel = UNSET
    preferred_formats: Formats = UNSET
    preferred_genres: Genres = UNSET
    playback_speed: Speed = UNSET
    auto_play: StrictBool = UNSET


class UserPreferencesFilters(TypedDict, total=False):
    """Each narrows the selection."""

    session_id: str
    difficulty_preference: DifficultyLevel
    saved_since: UtcDatetime
    """Last saved then or later."""
    saved_until: UtcDatetime
    """Last saved before then."""
