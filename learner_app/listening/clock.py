"""Upper limit of the timestamps that clients send, whose clocks may be wrong."""

from learner_app.repository.sql import NOW

MAX_TIMESTAMP = f"{NOW} + interval '1 day'"
"""SQL expression for one day after the current time of the database server."""

TOO_FAR_AHEAD = "is more than a day ahead of the database's clock"
"""Reason of the error for a timestamp after :data:`MAX_TIMESTAMP`."""
