"""Validation of the events of a batch, with a fast path for mappings that are obviously valid.

The fast path takes half the time of the input model, in which Pydantic calls Python validators. It
decides nothing that the model would decide differently: whatever it does not recognise as valid is
left to the model, which also words the reason of a failure.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timezone
from decimal import Decimal
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias, TypeVar

from learner_app.errors import InvalidValue
from learner_app.listening.rows import BatchResult, BehavioralEventCreate, EventFailure
from learner_app.repository.json_values import plain_json
from learner_app.repository.values import (
    FIRST_YEAR,
    LAST_YEAR,
    MAX_KEY_LENGTH,
    ROUNDING,
    new_key,
)

T = TypeVar("T")

EventInput: TypeAlias = BehavioralEventCreate | Mapping[str, Any]
"""Validated event, or the mapping of a client's JSON."""

ToParams: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, Any]]
"""Conversion of field values to statement parameters."""

TURN_SECONDS = 0.005
"""Time of work after which other tasks of the event loop run, since JSON may be large."""


class EventParams(NamedTuple):
    """Statement parameters of one event: the columns that an event sets, JSON as text."""

    id: str
    content_id: str
    event_type: str
    timestamp: datetime | None
    playback_position: Decimal
    playback_position_percent: Decimal | None
    duration: Decimal | None
    session_id: str
    content_characteristics: str | None
    device_info: str | None
    network_type: str | None
    context: str | None


_in_order = itemgetter(*EventParams._fields)


class ParsedBatch(NamedTuple):
    """Validated events of a batch, and the failures of validation."""

    events: list[EventParams]
    """Valid events, in the caller's order."""
    indexes: list[int]
    """Index of each valid event in the caller's input."""
    failed: list[EventFailure]

    def result(self, recorded: int, rejected: Mapping[int, str]) -> BatchResult:
        """Return the result of the batch.

        Args:
            recorded: number of events that were inserted.
            rejected: reasons why valid events were not, by their place in ``events``.
        """
        duplicates = len(self.events) - len(rejected) - recorded
        failed = self.failed + [
            EventFailure(self.indexes[place], self.events[place].id, reason)
            for place, reason in rejected.items()
        ]
        failed.sort(key=lambda failure: failure.index)
        return BatchResult(recorded, duplicates, failed)


async def parse_batch(
    events: Sequence[EventInput], to_params: ToParams, *, first_index: int = 0
) -> ParsedBatch:
    """Validate events, yielding to the event loop at regular intervals.

    Args:
        events: the batch, or a chunk of a stream.
        to_params: conversion of field values to statement parameters.
        first_index: index of the first event in the stream.
    """
    batch = ParsedBatch([], [], [])
    async for index, event in in_turns(enumerate(events, first_index)):
        try:
            params = plain_params(event) or input_params(_validated(event), to_params)
        except InvalidValue as error:
            reason = str(error).removeprefix("behavioral_events: ")
            batch.failed.append(EventFailure(index, _id_of(event), reason))
        else:
            batch.events.append(params)
            batch.indexes.append(index)
    return batch


async def in_turns(items: Iterable[T]) -> AsyncGenerator[T, None]:
    """Yield the items, with turns of other tasks of the event loop at regular intervals."""
    loop = asyncio.get_running_loop()
    next_turn = loop.time()
    for item in items:
        if loop.time() >= next_turn:
            await asyncio.sleep(0)
            next_turn = loop.time() + TURN_SECONDS
        yield item


def input_params(event: BehavioralEventCreate, to_params: ToParams) -> EventParams:
    """Return the parameters of a validated event.

    Raises:
        InvalidValue: its JSON was changed after the validation and is invalid.
    """
    return EventParams._make(_in_order(to_params(vars(event))))


def _validated(event: Any) -> BehavioralEventCreate:
    if isinstance(event, BehavioralEventCreate):
        return event
    if not isinstance(event, Mapping):
        raise InvalidValue("must be a BehavioralEventCreate or a mapping")
    return BehavioralEventCreate.model_validate(dict(event))


def _id_of(event: Any) -> str | None:
    event_id = event.get("id") if isinstance(event, Mapping) else None
    return event_id[:MAX_KEY_LENGTH] if isinstance(event_id, str) else None


# The fast path.

CENT = Decimal("0.01")
MAX_SECONDS = Decimal("99999999.99")
MAX_PERCENT = Decimal(100)

_ISO_TIME = re.compile(
    r"\d{4}-\d\d-\d\dT([01]\d|2[0-3]):\d\d:\d\d(\.\d{6}|\.\d{3})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)",
    re.ASCII,
)


class NotPlain(ValueError):
    """The value is not obviously valid: the input model has to decide."""


def plain_params(event: Any) -> EventParams | None:
    """Return the parameters of an obviously valid mapping, None if the model has to decide."""
    if type(event) is not dict:
        return None
    params: dict[str, Any] = dict.fromkeys(PLAIN_FIELDS)
    try:
        for name, value in event.items():
            check = PLAIN_FIELDS[name]
            if value is not None or name in NOT_NULL:
                params[name] = check(value)
    except (ArithmeticError, KeyError, ValueError):
        return None
    if not event.keys() >= REQUIRED:
        return None
    if params["id"] is None:
        params["id"] = new_key()
    return EventParams._make(params.values())


def _text(max_length: int) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        # printable text has no NUL and no lone surrogate
        if type(value) is str and 0 < len(value) <= max_length and value.isprintable():
            return value
        raise NotPlain

    return check


def _number(maximum: Decimal) -> Callable[[Any], Decimal]:
    def check(value: Any) -> Decimal:
        kind = type(value)
        if kind is float:
            value = str(value)
        elif kind is not int and kind is not Decimal:
            raise NotPlain
        number = Decimal(value)
        if not 0 <= number <= maximum:
            raise NotPlain
        return number.quantize(CENT, context=ROUNDING)

    return check


def _time(value: Any) -> datetime:
    if type(value) is str and _ISO_TIME.fullmatch(value):
        value = datetime.fromisoformat(value)
    if type(value) is not datetime or not FIRST_YEAR < value.year < LAST_YEAR:
        raise NotPlain
    if value.tzinfo is UTC:
        return value
    if type(value.tzinfo) is not timezone:
        raise NotPlain
    return value.astimezone(UTC)


def _json(value: Any) -> str:
    plain = plain_json(value) if type(value) is dict else None
    if plain is None:
        raise NotPlain
    text, _copy = plain
    return text.decode()


PLAIN_FIELDS: dict[str, Callable[[Any], Any]] = {
    "id": _text(MAX_KEY_LENGTH),
    "content_id": _text(MAX_KEY_LENGTH),
    "event_type": _text(50),
    "timestamp": _time,
    "playback_position": _number(MAX_SECONDS),
    "playback_position_percent": _number(MAX_PERCENT),
    "duration": _number(MAX_SECONDS),
    "session_id": _text(MAX_KEY_LENGTH),
    "content_characteristics": _json,
    "device_info": _json,
    "network_type": _text(50),
    "context": _json,
}
"""Conversion of the values of each field to a parameter, in the order of :class:`EventParams`."""

REQUIRED = frozenset({"content_id", "event_type", "playback_position", "session_id"})
NOT_NULL = REQUIRED | {"id"}
