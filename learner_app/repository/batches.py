"""Work on many rows a batch at a time: short transactions, and nobody waits for another's batch."""

from learner_app.repository.paging import check_limit
from learner_app.repository.sql import SqlNames

MAX_BATCH = 10_000


def lock_oldest_keys_sql(names: SqlNames, key: str, condition: str, order: str, batch: int) -> str:
    """SQL for an array of the keys of the first rows that nobody has locked; they are locked then.

    The batch stands in it as a literal, since a bound limit spoils the plan.

    Args:
        names: of the table.
        key: its key column.
        condition: which rows, in SQL.
        order: by which of its columns.
        batch: how many at most.

    Raises:
        InvalidValue: the batch is below 1 or over 10,000.
    """
    check_limit(batch, names.table, MAX_BATCH, "batch")
    return (
        f"ARRAY(SELECT {key} FROM {names} WHERE {condition} "
        f"ORDER BY {order}, {key} LIMIT {batch:d} FOR UPDATE SKIP LOCKED)"
    )


def affected_rows(tag: str) -> int:
    """The number of rows in the server's answer, such as ``DELETE 3``."""
    return int(tag.rpartition(" ")[2])
