"""Generated functions that make rows from the driver's records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import msgspec

R = TypeVar("R")

Conversion: TypeAlias = Callable[[Any], Any]
"""Function from a value of the driver, not None, to a value of a row."""

ToRow: TypeAlias = Callable[[Sequence[Any]], R]

MIN_RECORDS = 200
"""Number of records from which on it is worth looking for repeated JSON."""

SAMPLE = 16
"""Number of records whose JSON is compared."""

SCALARS = frozenset({bool, float, int, str, type(None)})

decode_json: Conversion = msgspec.json.Decoder().decode


class RowConstructor(Generic[R]):
    """Constructor of rows from records that have exactly the columns of the row type, in order.

    Args:
        row: the row type.
        conversions: conversion of each column, None where the row has the driver's value.
    """

    def __init__(self, row: type[R], conversions: Sequence[Conversion | None]) -> None:
        self._conversions = {at: convert for at, convert in enumerate(conversions) if convert}
        self._make = _make_function(row, list(self._conversions))
        self._json = [at for at, convert in self._conversions.items() if convert is decode_json]
        self.to_row: ToRow[R] = self._make(*self._conversions.values())
        """Function from a record to a row."""

    def for_records(self, records: Sequence[Sequence[Any]]) -> ToRow[R]:
        """Return a function for these records, which decodes JSON that they repeat only once.

        Events of a session have a few different devices and contents. Copying a dict takes half the
        time of decoding it, and the copies share their strings.
        """
        if not self._json or len(records) < MIN_RECORDS:
            return self.to_row
        sample = records[:SAMPLE]
        repeated = [at for at in self._json if _is_repeated([record[at] for record in sample])]
        if not repeated:
            return self.to_row
        return self._make(
            *(
                RepeatedJson().decode if at in repeated else convert
                for at, convert in self._conversions.items()
            )
        )


class RepeatedJson:
    """Decoder that keeps JSON objects without nested values, to return copies of them."""

    def __init__(self) -> None:
        self._known: dict[str, dict[str, Any]] = {}

    def decode(self, text: str) -> Any:
        known = self._known.get(text)
        if known is not None:
            return known.copy()
        value = decode_json(text)
        if not _is_flat(value):
            return value
        self._known[text] = value
        return value.copy()


def _is_repeated(texts: list[str | None]) -> bool:
    """Return True if half of the texts are repetitions, and the first one is a flat object."""
    first = texts[0]
    if first is None or len(set(texts)) > len(texts) // 2:
        return False
    return _is_flat(decode_json(first))


def _is_flat(value: Any) -> bool:
    return type(value) is dict and SCALARS.issuperset(map(type, value.values()))


def _make_function(row: type[R], positions: Sequence[int]) -> Callable[..., ToRow[R]]:
    """Return a function from the conversions of these positions to the function for a record.

    Its source is generated, as for the methods of a dataclass: one statement per column with a
    conversion, at a fixed position. A loop over these columns takes a sixth longer per row.
    """
    names = ", ".join(f"convert_{position}" for position in positions)
    lines = [f"def make({names}):", "    def to_row(record):", "        values = [*record]"]
    for position in positions:
        lines.append(f"        if (value := values[{position}]) is not None:")
        lines.append(f"            values[{position}] = convert_{position}(value)")
    lines += ["        return row(*values)", "    return to_row"]
    namespace: dict[str, Any] = {"row": row}
    exec("\n".join(lines), namespace)  # noqa: S102  # the source contains positions only
    make: Callable[..., ToRow[R]] = namespace["make"]
    return make
