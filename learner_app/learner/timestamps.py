"""Time of the last write of a row, different for any two writes of the row.

``now()`` is the start of the transaction, so all writes of a transaction would get the same time.
"""

from collections.abc import Mapping

from piccolo.columns import Column
from piccolo.querystring import QueryString

from learner_app.repository.queries import Expression

CLOCK_NOW = QueryString("clock_timestamp()")
"""SQL expression for the current time, which advances within a statement and a transaction."""

INSERT_EXPRESSIONS: Mapping[str, Expression] = {"last_updated": lambda _: CLOCK_NOW}
"""Value of ``stored_as`` for tables with a column ``last_updated``."""


def strictly_after(column: Column) -> QueryString:
    """Return SQL for the current time, at least a microsecond after the column's value.

    The value may be in the future of a clock that was set back.
    """
    return QueryString("GREATEST(clock_timestamp(), {} + interval '1 microsecond')", column)
