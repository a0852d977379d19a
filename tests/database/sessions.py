"""Listening sessions as the rows that tests of the engine write and read."""

from learner_app.listening.tables import ListeningSessionTable


async def add(key: str) -> None:
    """Insert a session with that key."""
    await ListeningSessionTable.insert(ListeningSessionTable(id=key))


async def keys() -> list[str]:
    """Return the keys of all sessions in order."""
    rows = await ListeningSessionTable.select(ListeningSessionTable.id).order_by(
        ListeningSessionTable.id
    )
    return [row["id"] for row in rows]
