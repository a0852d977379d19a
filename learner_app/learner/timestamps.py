"""SQL of ``last_updated``, the time of the last write, different for any two writes of a row.

``now()`` is the start of the transaction, so all writes of a transaction would get the same time.
"""

from collections.abc import Mapping

from piccolo.columns import Column
from piccolo.querystring import QueryString

from learner_app.repository.queries import Expression

CLOCK_NOW = QueryString("clock_timestamp()")
"""SQL expression for the current time, which advances within a statement and a transaction."""

INSERT_EXPRESSIONS: Mapping[str, Expression] = {"last_updated": lambda _: CLOCK_NOW}
"""Attribute ``stored_as`` of the repositories of tables with a column ``last_updated``."""


def strictly_after(column: Column) -> QueryString:
    """Return SQL for the current time, but at least a microsecond after the column's value.

    The stored time may be later than the current one if the clock was set back.
    """
    return QueryString("GREATEST(clock_timestamp(), {} + interval '1 microsecond')", column)
