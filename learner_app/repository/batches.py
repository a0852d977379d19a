"""SQL for operations that change or delete one batch of rows per call."""

from learner_app.repository.paging import check_limit
from learner_app.repository.sql import SqlNames

__all__ = ["MAX_BATCH", "lock_oldest_keys_sql"]

MAX_BATCH = 10_000
"""Maximum number of rows of a batch."""


def lock_oldest_keys_sql(names: SqlNames, key: str, condition: str, order: str, batch: int) -> str:
    """Return SQL of an array of the keys of the first matching rows, which it locks.

    Rows that another transaction has locked are skipped. The batch size is a literal in the
    SQL: PostgreSQL plans a bound LIMIT as if it were a tenth of the table.

    Args:
        names: the table.
        key: its key column.
        condition: SQL condition on the rows.
        order: ORDER BY terms; the key is added as the last one.
        batch: maximum number of keys.

    Raises:
        InvalidValue: ``batch`` is below 1 or above 10,000.
    """
    check_limit(batch, names.table, MAX_BATCH, "batch")
    return (
        f"ARRAY(SELECT {key} FROM {names} WHERE {condition} "
        f"ORDER BY {order}, {key} LIMIT {batch:d} FOR UPDATE SKIP LOCKED)"
    )
