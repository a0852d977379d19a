"""Rows, inputs and filters of learner states and preferences."""

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
    usual_numbers,
)

__all__ = [
    "DifficultyLevel",
    "LearnerModelState",
    "LearnerModelStateCreate",
    "LearnerModelStateFilters",
    "LearnerModelStateUpdate",
    "UserPreferences",
    "UserPreferencesCreate",
    "UserPreferencesFilters",
    "UserPreferencesUpdate",
]

FORMATS: tuple[Format, ...] = get_args(Format)
MAX_GENRES = 100

DifficultyLevel = Literal["beginner", "intermediate", "advanced"]


def _equal_weights() -> dict[Format, float]:
    return dict.fromkeys(FORMATS, 0.33)


def _require_distinct(formats: list[Format]) -> list[Format]:
    if len(set(formats)) < len(formats):
        raise ValueError("must not name a format twice")
    return formats


Weight = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
Weights = dict[Format, Weight]
"""Weight of each format, 0 to 1. A format may be omitted."""

Adjustment = Annotated[Decimal, NUMBER, numeric(5, 2), usual_numbers(2, -999, 999), AS_NUMBER]
"""Number above -1,000 and below 1,000, in hundredths."""

Formats = Annotated[list[Format], AfterValidator(_require_distinct)]
Genres = Annotated[list[Text100], Field(max_length=MAX_GENRES)]

OwnerId = Annotated[Key, BeforeValidator(owner_id)]

MIN_SPEED, MAX_SPEED = Decimal("0.25"), Decimal(4)

Speed = Annotated[
    Decimal,
    NUMBER,
    numeric(3, 2),
    AfterValidator(between(MIN_SPEED, MAX_SPEED)),
    usual_numbers(2, MIN_SPEED, MAX_SPEED),
    AS_NUMBER,
]
"""Multiple of the recorded speed, 0.25 to 4, in hundredths."""


class LearnerModelState(Row, frozen=True):
    """State of the adaptive model of a listening session."""

    session_id: str
    preference_weights: dict[Format, float]
    """Weight of each format, 0 to 1."""
    comprehension_level: Decimal
    """0 to 1, in hundredths."""
    content_type_preferences: dict[str, Any]
    difficulty_adjustment: Decimal
    """Added to the requested difficulty, in hundredths."""
    last_updated: datetime
    """Time of the last write, different for any two writes. It serves as a version of the row."""
    data_points: int
    """Number of events that the model has learned from."""
    created_at: datetime
    updated_at: datetime


class LearnerModelStateCreate(Input, table=LearnerModelStateTable):
    """New state, with the values of an untrained model for omitted fields."""

    session_id: Key
    preference_weights: Weights = Field(default_factory=_equal_weights)
    comprehension_level: UnitInterval = Decimal("0.50")
    content_type_preferences: JsonObject = Field(default_factory=dict)
    difficulty_adjustment: Adjustment = Decimal("0.00")
    data_points: NonNegativeInt = 0


class LearnerModelStateUpdate(Input, table=LearnerModelStateTable):
    """Changes of a learner state."""

    preference_weights: Weights = UNSET
    comprehension_level: UnitInterval = UNSET
    content_type_preferences: JsonObject = UNSET
    difficulty_adjustment: Adjustment = UNSET
    data_points: NonNegativeInt = UNSET


class LearnerModelStateFilters(TypedDict, total=False):
    """Filters of learner states, combined with AND."""

    learned_since: UtcDatetime
    """Minimum of ``last_updated``, inclusive."""
    learned_until: UtcDatetime
    """Maximum of ``last_updated``, exclusive."""
    min_data_points: NonNegativeInt


class UserPreferences(Row, frozen=True):
    """Settings chosen by a learner."""

    id: str
    """Id of the user, or of the listening session without a user. A UUID is in lower case."""
    session_id: str | None
    """Listening session of the last save that passed one. It may have been deleted."""
    difficulty_preference: DifficultyLevel
    preferred_formats: list[Format]
    preferred_genres: list[str]
    playback_speed: Decimal
    """Multiple of the recorded speed."""
    auto_play: bool
    """True if the next content starts automatically."""
    last_updated: datetime
    """Time of the last save, different for any two saves. ``migrate_to_user`` keeps it."""
    version: int
    """Version, from 1, which every write increases."""
    created_at: datetime
    updated_at: datetime


class UserPreferencesCreate(Input, table=UserPreferencesTable):
    """New preferences, with default settings for omitted fields."""

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
    """Filters of preferences, combined with AND."""

    session_id: str
    difficulty_preference: DifficultyLevel
    saved_since: UtcDatetime
    """Minimum of ``last_updated``, inclusive."""
    saved_until: UtcDatetime
    """Maximum of ``last_updated``, exclusive."""
