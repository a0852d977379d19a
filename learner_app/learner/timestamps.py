"""The moments in ``last_updated``: by the clock, and no two writes of a row at the same one.

The start of the transaction, which ``now()`` is, would be the same for all of its writes.
"""

from collections.abc import Mapping

from piccolo.columns import Column
from piccolo.querystring import QueryString

from learner_app.repository.queries import Expression

CLOCK_NOW = QueryString("clock_timestamp()")

STORED_AT_ONCE: Mapping[str, Expression] = {"last_updated": lambda _: CLOCK_NOW}
"""What ``stored_as`` of a repository says."""


def later(column: Column) -> QueryString:
    """Now, or just behind what the column holds where the clock went back or stands still."""
    return QueryString("GREATEST(clock_timestamp(), {} + interval '1 microsecond')", column)
