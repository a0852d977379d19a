"""SQL for deleting or changing many rows, one batch for each call."""

from learner_app.repository.paging import check_limit
from learner_app.repository.sql import SqlNames

__all__ = ["MAX_BATCH", "lock_oldest_keys_sql"]

MAX_BATCH = 10_000


def lock_oldest_keys_sql(names: SqlNames, key: str, condition: str, order: str, batch: int) -> str:
    """Return SQL for an array with the keys of the first matching rows, which are locked.

    Rows that are locked by another transaction are skipped. The batch size is a literal in the
    SQL: PostgreSQL plans a bound LIMIT as if it were a tenth of the table.

    Args:
        names: the table.
        key: its key column.
        condition: SQL condition that the rows meet.
        order: column that defines the order.
        batch: maximum number of keys.

    Raises:
        InvalidValue: ``batch`` is below 1 or above 10,000.
    """
    check_limit(batch, names.table, MAX_BATCH, "batch")
    return (
        f"ARRAY(SELECT {key} FROM {names} WHERE {condition} "
        f"ORDER BY {order}, {key} LIMIT {batch:d} FOR UPDATE SKIP LOCKED)"
    )
