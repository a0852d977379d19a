"""The owner and the application role of a database: create them, or repair existing ones."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import asyncpg
from piccolo.conf.apps import Finder

from learner_app.database.connector import Connector
from learner_app.database.dsn import DatabaseUrl, find_database_url
from learner_app.database.owner import find_owner_url
from learner_app.errors import RolesError
from learner_app.operations.role_script import (
    Roles,
    create_database,
    create_roles,
    set_privileges,
)
from learner_app.schema.schema_object import literal, quoted
from learner_app.settings import Settings

APPLICATION = "learner"
"""Name of the database and of the application role where the settings name none."""

OWNER_SUFFIX = "_owner"
ADVISORY_LOCK = 0x726F6C6573
"""Key of the lock, the letters of "roles": concurrent runs take turns."""

LOCK_SECONDS = 30
PASSWORD_BYTES = 24
SCRAM_ITERATIONS = 4096

MISSING_BYPASS = (
    "This server gives nobody BYPASSRLS: pg_dump as the owner fails rather than leave rows out; "
    "see docs/backup.md."
)

_ROLE_NAMES = "SELECT rolname FROM pg_roles WHERE rolname = ANY($1)"
_SEES_EVERY_ROW = "SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = $1"
_OWNED = """
    SELECT pg_describe_object(classid, objid, 0) FROM pg_shdepend d
    WHERE refclassid = 'pg_authid'::regclass AND deptype = 'o' AND objsubid = 0
      AND NOT EXISTS (SELECT FROM pg_class WHERE d.classid = 'pg_class'::regclass
                      AND pg_class.oid = d.objid AND relpersistence = 't')
      AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
      AND dbid IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    ORDER BY 1
"""


@dataclass(frozen=True)
class RolesReport:
    """Result of :func:`set_up_roles`."""

    created: tuple[str, ...]
    """Roles that did not exist."""
    passwords: Mapping[str, str]
    """Random passwords of created roles for which none was given; stored as hashes only."""
    owner_sees_every_row: bool
    """False where the server did not let the administrator give BYPASSRLS."""
    still_owned: tuple[str, ...]
    """Objects that the application role owns outside the schema, such as another database."""


def choose_roles(
    settings: Settings,
    *,
    database: str | None = None,
    owner: str | None = None,
    application: str | None = None,
    schema: str | None = None,
) -> Roles:
    """Return the names to use: those given, else those of the settings, else ``learner``.

    Raises:
        RolesError: a name is not possible, or both roles have the same name.
        SettingsError: a setting is invalid.
    """
    if not settings.has_database:
        application = application or APPLICATION
        database = database or APPLICATION
        return Roles(database, owner or application + OWNER_SUFFIX, application, schema or "public")
    target, owner_target = find_database_url(settings), find_owner_url(settings)
    application = application or target.user
    if owner is None:
        has_owner = owner_target.user != target.user
        owner = owner_target.user if has_owner else application + OWNER_SUFFIX
    schema = schema or _first_schema(target)
    return Roles(database or target.database, owner, application, schema)


def configured_passwords(settings: Settings) -> dict[str, str]:
    """Return the passwords that the settings have, by role name."""
    if not settings.has_database:
        return {}
    targets = (find_database_url(settings), find_owner_url(settings))
    return {target.user: target.password for target in targets if target.password}


def product_tables() -> list[str]:
    """Return the names of the tables of all registered Piccolo apps."""
    return [table._meta.tablename for table in Finder().get_table_classes()]


async def set_up_roles(
    administrator: DatabaseUrl,
    settings: Settings,
    roles: Roles,
    passwords: Mapping[str, str] | None = None,
    *,
    sets_passwords: bool = True,
) -> RolesReport:
    """Create or repair both roles, the database and all privileges, any number of times.

    Rows are not touched. Passwords of roles that exist already stay as they are.

    Args:
        administrator: connects as a superuser, or as a role with CREATEROLE and CREATEDB.
        settings: time-outs and encryption of the connections.
        roles: the names.
        passwords: by role name, for roles that are created; random ones where missing.
        sets_passwords: False for a server that asks for no passwords.

    Raises:
        RolesError: the server refused a statement, or row-level security would not apply to the
            application role. Nothing was changed by the part that failed.
        DatabaseUnavailable, DatabaseRefused: the administrator cannot connect.
    """
    direct = settings.model_copy(update={"db_pgbouncer": False})
    try:
        async with _Session(administrator, direct) as connection:
            created, generated = await _create(connection, roles, passwords or {}, sets_passwords)
            inside = replace(administrator, database=roles.database)
            async with _Session(inside, direct) as inner:
                async with inner.transaction():
                    await inner.execute(set_privileges(roles, product_tables()))
                owned = [row[0] for row in await inner.fetch(_OWNED, roles.application)]
            sees_every_row = await connection.fetchval(_SEES_EVERY_ROW, roles.owner)
    except asyncpg.PostgresError as error:
        raise RolesError(f"{administrator}: {error.args[0]} ({error.sqlstate})") from error
    return RolesReport(created, generated, bool(sees_every_row), tuple(owned))


class _Session:
    """Connection of the administrator, closed at the end of the block."""

    def __init__(self, target: DatabaseUrl, settings: Settings) -> None:
        self._connector = Connector(target, settings)
        self._connection: Any = None

    async def __aenter__(self) -> Any:
        seconds = self._connector.settings.db_connect_timeout
        self._connection = await self._connector.connect(seconds)
        return self._connection

    async def __aexit__(self, *_error: object) -> None:
        await self._connection.close()


async def _create(
    connection: Any, roles: Roles, passwords: Mapping[str, str], sets_passwords: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Create what is missing and return the new roles with their random passwords.

    The lock is that of the session: it covers the work in the other database as well.
    """
    await connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
    await connection.execute(f"SELECT pg_advisory_lock({ADVISORY_LOCK})")
    names = [roles.owner, roles.application]
    existing = {row[0] for row in await connection.fetch(_ROLE_NAMES, names)}
    created = tuple(name for name in names if name not in existing)
    generated = {}
    async with connection.transaction():
        await connection.execute(create_roles(roles))
        for name in created if sets_passwords else ():
            password = passwords.get(name)
            if password is None:
                password = generated[name] = secrets.token_urlsafe(PASSWORD_BYTES)
            stored = literal(scram_verifier(password))
            await connection.execute(f"ALTER ROLE {quoted(name)} PASSWORD {stored}")
    exists = "SELECT true FROM pg_database WHERE datname = $1"
    if not await connection.fetchval(exists, roles.database):
        await connection.execute(create_database(roles))
    return created, generated


def scram_verifier(password: str) -> str:
    """Return what PostgreSQL stores for a password, so that no log of the server can contain it.

    A password that is not ASCII is returned as it is: the server normalises it before hashing.
    """
    if not password.isascii():
        return password
    salt = secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    parts = (salt, hashlib.sha256(client_key).digest(), server_key)
    encoded, stored, server = (base64.b64encode(part).decode() for part in parts)
    return f"SCRAM-SHA-256${SCRAM_ITERATIONS}:{encoded}${stored}:{server}"


def _first_schema(target: DatabaseUrl) -> str:
    """Return the schema in which the application's search path creates tables."""
    entries = target.server_settings.get("search_path", "").split(",")
    names = [entry.strip().strip('"') for entry in entries]
    return next((name for name in names if name and name != "$user"), "public")


def summary(roles: Roles, report: RolesReport, administrator: DatabaseUrl) -> list[str]:
    """Return the lines to print: what exists now, random passwords, and what remains to do."""

    def state(name: str) -> str:
        return f"{name} ({'created' if name in report.created else 'existed'})"

    sees = "sees every row" if report.owner_sees_every_row else "does NOT see every row"
    lines = [
        f"Owner:       {state(roles.owner)}, migrates and dumps, {sees}",
        f"Application: {state(roles.application)}, reads and writes rows",
        f"Database:    {roles.database}, schema {roles.schema}",
    ]
    if not report.owner_sees_every_row:
        lines += [MISSING_BYPASS]
    if report.still_owned:
        others = ", ".join(report.still_owned)
        lines += [f"Outside this schema {roles.application} still owns: {others}"]
    if settings := _environment(roles, report, administrator):
        lines += ["", "Passwords are shown this once. For .env:", *settings]
    return lines


def _environment(roles: Roles, report: RolesReport, administrator: DatabaseUrl) -> list[str]:
    """Return the settings of the roles that were created with a random password."""
    lines = []
    if (password := report.passwords.get(roles.application)) is not None:
        lines += [
            f"DB_HOST={administrator.hosts[0]}",
            f"DB_PORT={administrator.ports[0]}",
            f"DB_NAME={_env_value(roles.database)}",
            f"DB_USER={_env_value(roles.application)}",
            f"DB_PASSWORD={password}",
        ]
    if (password := report.passwords.get(roles.owner)) is not None:
        lines += [f"DB_OWNER_USER={_env_value(roles.owner)}", f"DB_OWNER_PASSWORD={password}"]
    return lines


def _env_value(name: str) -> str:
    """Return the name as a value of a ``.env`` file, quoted where its characters ask for it."""
    if name.replace("_", "").replace("-", "").isalnum():
        return name
    return "'" + name.replace("\\", r"\\").replace("'", r"\'") + "'"
