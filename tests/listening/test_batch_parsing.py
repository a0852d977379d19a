"""The fast path of validation accepts no event that the input model rejects or stores otherwise."""

import asyncio
import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from learner_app.listening.batch_parsing import EventParams, parse_batch, plain_params
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.listening.rows import BehavioralEventCreate
from tests.examples import examples
from tests.listening.factories import event

to_params = BehavioralEventRepository().mapper.to_params

FULL = event(
    "e1",
    timestamp="2026-09-01T10:00:00.123Z",
    playback_position=12.5,
    playback_position_percent=4,
    duration=Decimal("3.25"),
    content_characteristics={"format": "podcast", "genre": None},
    device_info={"os": "ios", "version": "17.1"},
    network_type="wifi",
    context={"screen": ["player"], "speed": 1.25, "title": "Perché? 🎧"},
)


class Color(str, Enum):
    red = "red"


class Number(int):
    pass


texts = st.one_of(
    st.text(max_size=5),
    st.text(st.sampled_from("aé\0\ud800\n 🎧"), max_size=3),
    st.sampled_from([1, 49, 50, 51, 254, 255, 256]).map("x".__mul__),
    st.sampled_from([None, 1, b"x", Color.red, ["x"]]),
)
cents = st.sampled_from(["0", "-0", "0.005", "99.995", "100", "100.004", "100.005", "1E+2"])
bounds = st.sampled_from(["99999999.99", "99999999.994", "99999999.995", "-0.001", "1e-400"])
numbers = st.one_of(
    st.decimals(allow_nan=True),
    st.one_of(cents, bounds, st.sampled_from(["1e999999", "sNaN"])).map(Decimal),
    st.one_of(cents, bounds).map(float),
    st.floats(),
    st.floats(-1, 200),
    st.integers(-2, 101),
    st.sampled_from([True, "1.5", None, Number(3), 10**400]),
)
zones = st.one_of(
    st.none(),
    st.just(UTC),
    st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone),
    st.just(ZoneInfo("Europe/Rome")),
)
iso_texts = st.builds(
    "{}{}{}{}{}".format,
    st.sampled_from(["0001-01-01", "0002-12-31", "2024-02-29", "2026-02-29", "9998-01-01"]),
    st.sampled_from(["T", "t", " ", ""]),
    st.sampled_from(["00:00:00", "23:59:59", "24:00:00", "23:59:60", "10:00", "10", "1:2:3"]),
    st.sampled_from(["", ".1", ".123", ".123456", ".1234567", ",123", "."]),
    st.sampled_from(
        ["Z", "z", "+00:00", "-00:00", "+23:59", "+24:00", "-0130", "+01", "", "+05:60", "-18:75"]
    ),
)
times = st.one_of(
    st.datetimes(timezones=zones),
    st.datetimes(timezones=zones).map(datetime.isoformat),
    iso_texts,
    st.sampled_from([None, 1, "1756720800", "2026-W01-1T10:00:00Z", date(2026, 1, 1)]),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.text(st.sampled_from('a"\\\0\x7f\ud800u0é'), max_size=6),
    st.sampled_from([Decimal(1), b"x", Color.red, Number(3), (1,), {1}, date(2026, 1, 1)]),
)
keys = st.one_of(st.text(max_size=3), st.sampled_from([1, None, True, 1.5, Color.red, "\0"]))
objects = st.one_of(
    st.dictionaries(
        keys,
        st.recursive(
            scalars,
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
            max_leaves=5,
        ),
        max_size=3,
    ),
    st.integers(97, 103).map(lambda depth: {"deep": json.loads("[" * depth + "]" * depth)}),
    st.sampled_from([None, [], "{}", {"long": "x" * 10_000}, {"many": [1e300] * 4000}]),
)
values: dict[str, st.SearchStrategy[Any]] = {
    "id": texts,
    "content_id": texts,
    "event_type": texts,
    "timestamp": times,
    "playback_position": numbers,
    "playback_position_percent": numbers,
    "duration": numbers,
    "session_id": texts,
    "content_characteristics": objects,
    "device_info": objects,
    "network_type": texts,
    "context": objects,
    "unknown": st.none(),
}
changes = st.lists(
    st.sampled_from([*values]).flatmap(
        lambda name: st.tuples(st.just(name), values[name] | st.just(...))
    ),
    min_size=1,
    max_size=2,
)


def checked_params(fields: dict[str, Any]) -> EventParams:
    return EventParams(**to_params(vars(BehavioralEventCreate(**fields))))


def decoded(params: EventParams) -> dict[str, str]:
    """Return the parameters with their types, and JSON as values, since its texts may differ."""
    values = params._asdict()
    for name in ("content_characteristics", "device_info", "context"):
        values[name] = values[name] and json.loads(values[name])
    return {name: repr(value) for name, value in values.items()}


@settings(max_examples=examples(1000))
@example([("timestamp", "2026-01-01T00:00:00+05:60")])
@given(changes)
def test_fast_path_decides_as_the_model(changed: list[tuple[str, Any]]):
    fields = dict(FULL)
    for name, value in changed:
        fields.pop(name, None)
        if value is not ...:
            fields[name] = value
    plain = plain_params(fields)
    if plain is None:
        return
    checked = checked_params({"id": plain.id} | fields)
    assert decoded(plain) == decoded(checked)


@pytest.mark.parametrize(
    "fields",
    [
        FULL,
        event(),
        {**FULL, "timestamp": datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=-9)))},
        {**FULL, "timestamp": None, "context": None, "duration": 0.1 + 0.2},
    ],
)
def test_events_of_usual_clients_take_the_fast_path(fields: Any):
    plain = plain_params(fields)
    assert plain is not None
    assert decoded(plain) == decoded(checked_params({"id": plain.id} | fields))


def test_generated_ids_ascend():
    ids = [params.id for _ in range(100) if (params := plain_params(event()))]
    assert len(set(ids)) == 100
    assert ids == sorted(ids)


async def test_parsing_yields_to_other_tasks():
    """Also with events that the fast path does not recognise."""
    large = {"text": "x" * 100_000}
    batch = [event(f"e{number}", context=large) for number in range(200)]
    yields = 0

    async def count() -> None:
        nonlocal yields
        while True:
            await asyncio.sleep(0)
            yields += 1

    counting = asyncio.create_task(count())
    parsed = await parse_batch(batch, to_params)
    counting.cancel()
    assert len(parsed.events) == len(batch)
    assert yields >= 3
