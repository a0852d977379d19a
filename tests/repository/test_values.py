"""Values of every kind: what PostgreSQL would refuse is refused before, the rest comes back."""

import random
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from typing import Annotated, Any, get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import HttpUrl, TypeAdapter, ValidationError, WrapValidator

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import ContentUpdate
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import InvalidValue
from learner_app.learner.rows import Adjustment, Speed
from learner_app.listening.rows import BehavioralEventCreate, ListeningSessionCreate
from learner_app.repository.inputs import Input
from learner_app.repository.json_values import MAX_JSON_BYTES, MAX_JSON_DEPTH
from learner_app.repository.values import (
    _URL,
    Percent,
    Seconds,
    UnitInterval,
    UtcDatetime,
    new_key,
)
from tests.content.factories import new_content
from tests.examples import examples

content = ContentRepository()

EASTERN, WESTERN = timezone(timedelta(hours=5)), timezone(timedelta(hours=-5))
NAIVE = datetime(2026, 1, 2)  # noqa: DTZ001  # without a time zone, as the tests want it
SECRET = "5ecret"


def refused(make: type[Input], **fields: Any) -> InvalidValue:
    with pytest.raises(InvalidValue) as caught:
        make(**fields)
    return caught.value


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def cyclic() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["me"] = value
    return value


TEXTS = ["a\0", "\0", "\ud800", "a\udfffb", "\ud83d\ude00", "x" * 501, 5, ["a"], None]
NUMBERS = [
    *map(float, ("nan", "inf", "-inf")),
    *map(Decimal, ("NaN", "sNaN", "-Infinity", "1E+1000000", "-1E+999999999999")),
    *map(Decimal, ("1.005", "-0.005", "9.99", "9.995", "9.9999999999999999999999999999999999")),
    *(10**400, 10**5000, -(10**30), "1" * 5000, f"{SECRET}", [1], b"0.5"),
]
INTEGERS = [-1, 2**31, 1.5, float("nan"), float("inf"), 10**30, "1" * 5000, SECRET, None, [1]]
MOMENTS = [
    *(NAIVE, datetime.min, datetime.max, date(2026, 1, 1)),  # noqa: DTZ901  # naive, as wanted
    *(datetime.min.replace(tzinfo=zone) for zone in (UTC, EASTERN, WESTERN)),
    *(datetime.max.replace(tzinfo=zone) for zone in (UTC, EASTERN, WESTERN)),
    *(float("nan"), float("inf"), 10**400, SECRET, [1], None),
]
JSONS: list[Any] = [
    *({"a": value} for value in map(float, ("nan", "inf", "-inf"))),
    *({"a": value} for value in ("\0", "\\\0", "\\\\\0", "\ud800", ["\ud83d\ude00"])),
    *({"\0": 1}, {"a": {"\ud800": 1}}),
    *({1: 2}, {"a": {1: 2}}, {"a": [{None: 1}]}, {"a": {True: 1}}, {"a": {1: 1, "1": 2}}),
    *({"a": {b"b": 1}}, {"a": {1}}, {"a": b"b"}, {"a": datetime.now(UTC)}, {"a": Decimal(1)}),
    *(cyclic(), {"a": nested(MAX_JSON_DEPTH)}, {"a": nested(100_000)}),
    *({"a": 10**5000}, {"a": "x" * MAX_JSON_BYTES}, {"a": "é" * (MAX_JSON_BYTES // 2)}),
    *([1], "{}", 5, '{"a": 1}'),
]
WRONG: dict[str, list[Any]] = {
    "title": TEXTS,
    "quality_score": NUMBERS,
    "duration": INTEGERS,
    "generated_at": MOMENTS,
    "metadata": JSONS,
    "model_parameters": [None],
    "related_content_ids": ["ab", ["a\0"], ["a", None], [""], ["x" * 256], 5, [["a"]]],
    "format": ["podcasts", "Podcast", "podcast\0", "", None, 5],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in WRONG.items() for value in values],
    ids=lambda it: it if it in list(WRONG) else type(it).__name__,
)
def test_a_wrong_value_is_rejected_with_its_field(field: str, value: Any):
    error = refused(ContentUpdate, **{field: value})
    assert (error.fields, error.table) == ((field,), "content")
    assert SECRET not in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 250
    assert error.__cause__ is None


def test_one_error_names_all_wrong_fields():
    error = refused(ContentUpdate, title=None, duration=-1, id="c2", created_at=SECRET, nope=1)
    assert error.fields == ("title", "duration", "id", "created_at", "nope")
    assert SECRET not in str(error)
    assert refused(ListeningSessionCreate, id="").fields == ("id",)


@pytest.mark.parametrize("name", ["x" * 10_000, "new\nline " * 1000, "\ud800", "a\0b"])
def test_unknown_names_are_cut_in_the_message(name: str):
    with pytest.raises(InvalidValue) as caught:
        ContentUpdate.model_validate({name: SECRET})
    assert len(str(caught.value)) < 150
    assert str(caught.value).isprintable()
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "right", "wrong"),
    [
        ("playback_position", "99999999.994", "99999999.995"),
        ("playback_position", "0", "-0.01"),
        ("duration", "-0.004", "-0.005"),
        ("playback_position_percent", "100.004", "100.005"),
    ],
)
def test_bounds_apply_after_rounding(field: str, right: str, wrong: str):
    event = {"content_id": "c", "session_id": "s", "event_type": "play", "playback_position": 0}
    BehavioralEventCreate(**{**event, field: Decimal(right)})
    error = refused(BehavioralEventCreate, **{**event, field: Decimal(wrong)})
    assert error.fields == (field,)


async def test_numbers_are_rounded_as_postgresql_does(db: DatabaseEngine):
    randoms = random.Random(random.random())
    given = [Decimal(randoms.randrange(10**5)).scaleb(-5) for _ in range(300)]
    given += [Decimal(n).scaleb(-3) for n in range(5, 1000, 10)]
    given += [Decimal("0.00499999999999999999999999999999999"), Decimal("1E-2000000")]
    stored = await db.fetch("SELECT n::numeric(3,2) FROM unnest($1::numeric[]) AS n", given[:-1])
    made = [ContentUpdate(quality_score=number).quality_score for number in given]
    assert made == [record[0] for record in stored] + [0]
    assert ContentUpdate.model_validate({"quality_score": 0.285}).quality_score == Decimal("0.29")


def test_rounding_is_independent_of_the_callers_decimal_context():
    with localcontext() as context:
        context.prec = 1
        assert ContentUpdate(quality_score=Decimal("0.125")).quality_score == Decimal("0.13")


@pytest.mark.parametrize(
    "value",
    [
        {"a": "\\u0000", "b\\u0000": "\\\\u0000"},
        {"a": nested(MAX_JSON_DEPTH - 1)},
        {"a": [None, True, 0, -1, 1.5, 2**64, 10**400, 1e-300, "😀\u2028"], "": {}},
        {"a": "x" * (MAX_JSON_BYTES - 8)},
    ],
    ids=["backslashes", "deep", "scalars", "long"],
)
async def test_json_up_to_the_limits_is_stored_unchanged(db: DatabaseEngine, value: dict[str, Any]):
    added = await content.add(new_content(metadata=value))
    assert added.metadata == value
    assert await content.get("c1") == added


async def test_tuples_in_json_become_lists_at_validation(db: DatabaseEngine):
    new = new_content(metadata={"a": (1, ("b",))})
    assert new.metadata == {"a": [1, ["b"]]}
    first, _ = await content.add_idempotent(new)
    assert await content.add_idempotent(new) == (first, False)


@pytest.mark.parametrize("year", [2, 9998])
async def test_times_up_to_the_limits_are_stored_unchanged(db: DatabaseEngine, year: int):
    moment = datetime(year, 6, 1, 23, 59, 59, 999999, tzinfo=WESTERN)
    added = await content.add(new_content(generated_at=moment))
    assert added.generated_at == moment
    assert added.generated_at.tzinfo == UTC
    assert await content.get("c1") == added


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50)
JSON = st.dictionaries(
    TEXT,
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | TEXT
        | st.floats(-1e15, 1e15).map(lambda number: number + 0.0),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
        max_leaves=10,
    ),
    max_size=4,
)
FIELDS = st.fixed_dictionaries(
    {
        "title": TEXT,
        "description": st.none() | TEXT,
        "model_parameters": JSON,
        "metadata": st.none() | JSON,
        "related_content_ids": st.none() | st.lists(TEXT.filter(bool), max_size=4),
        "quality_score": st.none() | st.decimals(0, 1, places=2),
        "audio_size": st.none() | st.integers(0, 2**63 - 1),
        "generated_at": st.datetimes(
            *(NAIVE.replace(year=2), NAIVE.replace(year=9998)),
            timezones=st.sampled_from([UTC, EASTERN]),
        ),
    }
)


@settings(
    max_examples=examples(100),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(fields=FIELDS)
async def test_accepted_values_are_stored_unchanged(db: DatabaseEngine, fields: dict[str, Any]):
    added = await content.add(new_content(new_key(), **fields))
    assert {name: getattr(added, name) for name in fields} == fields
    assert await content.get(added.id) == added


@pytest.mark.parametrize(
    "url",
    [
        *("javascript:alert(1)", "JavaScript:alert(1)", "data:text/html,x", "file:///etc/passwd"),
        *("ftp://a.example/x", "//a.example/x", "/x.mp3", "x.mp3", "", "a.example/x"),
        *(
            "http:",
            "http://",
            "http:/a.example",
            "http:a.example",
            "https:///a.example",
            "https://?q",
        ),
        *(
            " https://a.example",
            "https://a.example ",
            "https://a.example/a b",
            "https://a.example/\n",
        ),
        *(
            "https://a.example/\t",
            "ht\ntps://a.example",
            "https://a.example/\u00a0",
            "\x01https://a",
        ),
        *(
            "https://a.example/\x85",
            "https://a.example/\x9f",
            "https://a.example\\x",
            "https://a\0",
        ),
        *("https://a.example/\ud800", "https://a.example:99999", "https://[::1", "https://a|b/"),
        *(
            "javascript://a.example/%0aalert(1)",
            "https://a.example/" + "x" * 983,
            None,
            5,
            b"https://a",
        ),
    ],
)
def test_urls_other_than_http_and_https_are_rejected(url: Any):
    for make in (lambda: new_content(audio_url=url), lambda: ContentUpdate(audio_url=url)):
        with pytest.raises(InvalidValue) as caught:
            make()
        assert caught.value.fields == ("audio_url",)


@pytest.mark.parametrize(
    "url",
    [
        *("http://a.example", "https://a.example/x.mp3?a=1&b=%20#t=5", "HTTPS://A.example/X"),
        *(
            "https://a.example:8443/",
            "https://127.0.0.1/x",
            "https://[::1]:8000/",
            "http://localhost/x",
        ),
        *(
            "https://münchen.example/ü.mp3",
            "https://user@a.example/",
            "https://a.example/" + "x" * 982,
        ),
    ],
)
async def test_http_urls_are_stored_unchanged(db: DatabaseEngine, url: str):
    assert (await content.add(new_content(audio_url=url))).audio_url == url


def outcome(adapter: TypeAdapter[Any], value: Any) -> str:
    """Return the result with its type and digits, or what is wrong."""
    try:
        return repr(adapter.validate_python(value))
    except ValidationError as error:
        return repr(error.errors(include_input=False, include_url=False, include_context=False))


def without_shortcut(kind: Any) -> Any:
    """Return the type without the validator that returns usual values at once."""
    plain, *metadata = get_args(kind)
    careful = [item for item in metadata if not isinstance(item, WrapValidator)]
    assert len(careful) == len(metadata) - 1
    return Annotated[plain, *careful]


NUMBER_TYPES = {
    "unit": UnitInterval,
    "percent": Percent,
    "seconds": Seconds,
    "adjustment": Adjustment,
    "speed": Speed,
}
near_limits = st.sampled_from([0, 1, 4, 100, 999, 1000, 10**7, 10**8, Decimal("0.25")]).flatmap(
    lambda limit: st.decimals(
        limit - Decimal("0.02"), limit + Decimal("0.02"), places=4, allow_nan=False
    )
)
numbers = (
    near_limits
    | near_limits.map(float)
    | near_limits.map(lambda number: -number)
    | st.decimals()
    | st.floats()
    | st.integers(-1100, 1100)
    | st.integers()
    | st.sampled_from([True, None, "1", Decimal("sNaN"), Decimal("1E+1000000"), Decimal("-0.000")])
)


@pytest.mark.parametrize("kind", NUMBER_TYPES.values(), ids=NUMBER_TYPES)
def test_usual_numbers_are_validated_as_all_others_are(kind: Any):
    usual, careful = TypeAdapter(kind), TypeAdapter(without_shortcut(kind))

    @given(numbers)
    def check(value: Any) -> None:
        assert outcome(usual, value) == outcome(careful, value)

    check()


zones = st.sampled_from([UTC, EASTERN, WESTERN, None, timezone(timedelta(0), "GMT")])
times = st.datetimes(timezones=zones)
days = st.from_regex(r"\d{4}-[01]\d-[0-3]\d", fullmatch=True)
clock_times = st.from_regex(r"[0-2]\d:[0-6]\d:[0-6]\d(\.\d{1,9})?", fullmatch=True)
suffixes = st.sampled_from(["Z", "z", "+00:00", "-00:00", "+0000", "+00", "+01:00", "", " Z"])
iso_times = st.builds(
    "{}{}{}{}".format, days, st.sampled_from("Tt _"), clock_times, suffixes
) | times.map(datetime.isoformat)


@given(times | iso_times | st.text() | st.integers() | st.dates() | st.none())
def test_usual_times_are_validated_as_all_others_are(value: Any):
    usual, careful = TypeAdapter(UtcDatetime), TypeAdapter(without_shortcut(UtcDatetime))
    assert outcome(usual, value) == outcome(careful, value)


urls = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["http://", "https://", "HTTPS://", "ftp://", "//", "https:/", "http:"]),
    st.text(st.sampled_from("aZ0.-:@[]%é_ 1"), max_size=12) | st.text(max_size=5),
    st.sampled_from(["", "/", "/a b", "?q=1", ":80", ":99999", "/\\", "/%zz", "/" + "x" * 2090]),
    st.text(max_size=3),
)


@given(urls)
def test_the_validator_of_urls_is_that_of_pydantic(url: str):
    accepted = {"HttpUrl": True, "ours": True}
    try:
        TypeAdapter(HttpUrl).validate_python(url)
    except ValidationError:
        accepted["HttpUrl"] = False
    try:
        _URL.validate_python(url)
    except ValidationError:
        accepted["ours"] = False
    assert accepted["HttpUrl"] == accepted["ours"]
