"""Staff accounts of the admin.

Each function acts on the engine that it receives. Without one it acts on the engine of the
surrounding ``use_engine`` block or application, otherwise on the configured engine.
"""

import secrets
from typing import cast

from learner_app.admin.tables import StaffSessionTable, StaffUserTable
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import StaffError
from learner_app.operations.preconditions import require_migrated
from learner_app.schema.piccolo_hooks import use_engine

APP = "staff"
PASSWORD_BYTES = 15
MAX_NAME_LENGTH = 100
"""Length of the column in Piccolo's BaseUser."""


async def has_staff(engine: DatabaseEngine | None = None) -> bool:
    """Return True if at least one staff account exists."""
    with use_engine(engine or _table_engine()):
        return bool(await StaffUserTable.exists())


async def add_staff(name: str, engine: DatabaseEngine | None = None) -> str:
    """Create a staff account that can sign in to the admin.

    Returns:
        The random password. Only its hash is stored, so it cannot be shown again.

    Raises:
        StaffError: the name is taken, empty or longer than 100 characters.
        MigrationsPending: the tables of the admin do not exist yet.
    """
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise StaffError("the name of a staff account must have 1 to 100 characters")
    engine = engine or _table_engine()
    await require_migrated(engine, APP)
    with use_engine(engine):
        if await StaffUserTable.exists().where(StaffUserTable.username == name):
            raise StaffError(
                f"there is already a staff account {name!r}: choose another name, or set a new "
                "password with `learner staff password`"
            )
        password = _new_password()
        await StaffUserTable.create_user(
            username=name,
            password=password,
            # The column is unique and must not be empty. No mail is ever sent to the address.
            email=f"{secrets.token_hex(8)}@staff.invalid",
            active=True,
            admin=True,
        )
    return password


async def renew_password(name: str, engine: DatabaseEngine | None = None) -> str:
    """Set a new random password and delete all login sessions of the account.

    Returns:
        The password. Only its hash is stored, so it cannot be shown again.

    Raises:
        StaffError: no account has this name.
        MigrationsPending: the tables of the admin do not exist yet.
    """
    engine = engine or _table_engine()
    await require_migrated(engine, APP)
    with use_engine(engine):
        found = await StaffUserTable.select(StaffUserTable.id).where(
            StaffUserTable.username == name
        )
        if not found:
            raise StaffError(
                f"there is no staff account {name!r}: create it with `learner staff add`"
            )
        password = _new_password()
        async with engine.transaction():
            await StaffUserTable.update_password(found[0]["id"], password)
            await StaffSessionTable.delete().where(StaffSessionTable.user_id == found[0]["id"])
    return password


def _table_engine() -> DatabaseEngine:
    return cast("DatabaseEngine", StaffUserTable._meta.db)


def _new_password() -> str:
    return secrets.token_urlsafe(PASSWORD_BYTES)
