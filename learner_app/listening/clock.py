"""Latest time that is accepted from clients, whose clocks may be wrong."""

from learner_app.repository.sql import NOW

LATEST = f"{NOW} + interval '1 day'"
"""SQL for a day after the current time of the database's clock."""

TOO_LATE = "is more than a day ahead of the database's clock"
"""Reason of the error for a time after :data:`LATEST`."""
