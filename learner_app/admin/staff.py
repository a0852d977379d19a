"""Staff accounts of the admin."""

import secrets

from learner_app.admin.tables import StaffSessionTable, StaffUserTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import StaffError
from learner_app.operations.preconditions import require_migrated

APP = "staff"
PASSWORD_BYTES = 15
MAX_NAME_LENGTH = 100
"""Of the column in Piccolo's BaseUser."""


async def has_staff() -> bool:
    """Whether anybody could sign in to the admin."""
    return bool(await StaffUserTable.exists())


async def add_staff(name: str) -> str:
    """Make a staff member who may sign in to the admin.

    Returns:
        The random password; it is stored as a hash only and cannot be shown again.

    Raises:
        StaffError: the name is taken, empty or longer than 100 characters.
        MigrationsPending: the tables of the admin do not exist yet.
    """
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise StaffError("a staff name has 1 to 100 characters")
    await require_migrated(_engine(), APP)
    if await StaffUserTable.exists().where(StaffUserTable.username == name):
        raise StaffError(f"there is a staff member {name!r} already")
    password = _new_password()
    await StaffUserTable.create_user(
        username=name,
        password=password,
        # The column is unique and must not be empty; nothing is ever sent to it.
        email=f"{secrets.token_hex(8)}@staff.invalid",
        active=True,
        admin=True,
    )
    return password


async def renew_password(name: str) -> str:
    """Give a staff member a new random password and sign out all their browsers.

    Raises:
        StaffError: there is nobody of that name.
        MigrationsPending: the tables of the admin do not exist yet.
    """
    await require_migrated(_engine(), APP)
    found = await StaffUserTable.select(StaffUserTable.id).where(StaffUserTable.username == name)
    if not found:
        raise StaffError(f"there is no staff member {name!r}: make one with `learner staff add`")
    password = _new_password()
    async with _engine().transaction():
        await StaffUserTable.update_password(found[0]["id"], password)
        await StaffSessionTable.delete().where(StaffSessionTable.user_id == found[0]["id"])
    return password


def _engine() -> DatabaseEngine:
    engine: DatabaseEngine = StaffUserTable._meta.db  # type: ignore[assignment]  # Piccolo's base class
    return engine


def _new_password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)
