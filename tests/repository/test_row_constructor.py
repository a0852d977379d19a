"""Rows of many records are equal to rows of single ones, and share nothing that can change."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner_app.content.repositories import ContentRepository
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.repositories import BehavioralEventRepository
from learner_app.repository.row_constructor import (
    MIN_RECORDS,
    SAMPLE,
    RepeatedJson,
    RowConstructor,
    decode_json,
)
from learner_app.repository.rows import Row
from tests.content.factories import add_contents
from tests.listening.factories import ensure_sessions, new_event


class Reading(Row, frozen=True):
    id: int
    device: Any
    note: str | None
    context: Any


readings = RowConstructor(Reading, [None, decode_json, str.upper, decode_json])

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
flat = st.dictionaries(st.text(max_size=3), scalars, max_size=3)
documents = flat | scalars | st.lists(scalars, max_size=2) | st.fixed_dictionaries({"a": flat})
columns = st.lists(st.none() | documents.map(json.dumps), min_size=1, max_size=5).flatmap(
    lambda pool: st.lists(st.sampled_from(pool), min_size=MIN_RECORDS, max_size=MIN_RECORDS)
)


@given(columns, columns)
@pytest.mark.slow
def test_rows_of_many_records_are_equal_to_rows_of_single_records(devices: Any, contexts: Any):
    records = [(n, *pair) for n, pair in enumerate(zip(devices, contexts, strict=True))]
    given_records = [(n, device, "a", context) for n, device, context in records]
    rows = list(map(readings.for_records(given_records), given_records))
    assert repr(rows) == repr(list(map(readings.to_row, given_records)))
    values = [value for row in rows for value in (row.device, row.context)]
    changeable = [id(value) for value in values if isinstance(value, dict | list)]
    assert len(set(changeable)) == len(changeable)


def test_nested_values_are_not_shared_between_rows():
    decoder = RepeatedJson()
    for text in ('{"a": [1], "b": 2}', '{"a": {"b": []}}', '[{"a": 1}]'):
        first, second = decoder.decode(text), decoder.decode(text)
        assert first == second == json.loads(text)
        assert first is not second
        inner = [one for one in (first, second) for one in _changeable(one)]
        assert len({id(value) for value in inner}) == len(inner) >= 2


def _changeable(value: Any) -> list[Any]:
    values = value.values() if isinstance(value, dict) else value
    return [item for item in values if isinstance(item, dict | list)]


@pytest.mark.parametrize(
    ("texts", "is_faster"),
    [
        (['{"a": 1}', '{"a": 2}'], True),
        ([None, '{"a": 1}'], False),
        ([f'{{"a": {n}}}' for n in range(SAMPLE)], False),
        (['{"a": [1]}'], False),
        (["[1]"], False),
    ],
    ids=["repeated", "null", "distinct", "nested", "list"],
)
def test_only_repeated_objects_are_kept(texts: list[str | None], is_faster: bool):
    records = [(n, texts[n % len(texts)], None, None) for n in range(MIN_RECORDS)]
    assert (readings.for_records(records) is not readings.to_row) is is_faster
    assert readings.for_records(records[:-1]) is readings.to_row


async def test_long_lists_of_events_have_dicts_of_their_own(db: DatabaseEngine):
    events = BehavioralEventRepository()
    await add_contents("c1")
    await ensure_sessions("s1")
    device = {"os": "one", "version": None}
    new = [new_event(f"e{n}", device_info=device) for n in range(MIN_RECORDS + 10)]
    await events.record_batch(new)
    listed = await events.list_for_session("s1", limit=1000)
    streamed = [event async for event in events.stream(session_id="s1")]
    single = [await events.get(event.id) for event in listed]
    assert listed == streamed == single
    assert repr(listed) == repr(single)
    listed[0].device_info["os"] = "two"  # type: ignore[index]
    assert {event.device_info["os"] for event in listed[1:]} == {"one"}  # type: ignore[index]


def test_rows_without_conversions_are_made_from_the_record():
    plain = msgspec.defstruct("Plain", [("a", int), ("b", int)])
    constructor = RowConstructor(plain, [None, None])
    assert constructor.to_row((1, 2)) == plain(1, 2)
    assert constructor.for_records([(1, 2)] * MIN_RECORDS) is constructor.to_row
    assert ContentRepository.mapper.constructor_for([]) is ContentRepository.mapper.to_row
