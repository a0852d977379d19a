"""Creation and repair of the owner role and the application role of a database."""

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
from learner_app.schema import piccolo_hooks
from learner_app.schema.schema_object import literal, quoted
from learner_app.settings import Settings

DEFAULT_NAME = "learner"
"""Default name of the database and of the application role."""

OWNER_SUFFIX = "_owner"
"""Suffix of the default name of the owner role, after the name of the application role."""

ADVISORY_LOCK = 0x726F6C6573
"""Key of the lock that serialises concurrent runs: the letters of "roles"."""

LOCK_SECONDS = 30
PASSWORD_BYTES = 24
SCRAM_ITERATIONS = 4096

MISSING_BYPASS = (
    "This server does not grant BYPASSRLS: pg_dump as the owner role fails instead of omitting "
    "rows; see docs/backup.md."
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
    """Random passwords of the created roles without a configured password; stored as hashes."""
    owner_sees_every_row: bool
    """False if the administrator may not grant BYPASSRLS."""
    still_owned: tuple[str, ...]
    """Objects outside the schema that the application role owns, such as another database."""


def choose_roles(
    settings: Settings,
    *,
    database: str | None = None,
    owner: str | None = None,
    application: str | None = None,
    schema: str | None = None,
) -> Roles:
    """Return the names from the arguments, from the settings, or from the default ``learner``.

    Raises:
        RolesError: a name is invalid, or both roles have the same name.
        SettingsError: a setting is invalid.
    """
    if not settings.has_database:
        application = application or DEFAULT_NAME
        database = database or DEFAULT_NAME
        return Roles(database, owner or application + OWNER_SUFFIX, application, schema or "public")
    target, owner_target = find_database_url(settings), find_owner_url(settings)
    application = application or target.user
    if owner is None:
        has_owner = owner_target.user != target.user
        owner = owner_target.user if has_owner else application + OWNER_SUFFIX
    schema = schema or _first_schema(target)
    return Roles(database or target.database, owner, application, schema)


def configured_passwords(settings: Settings) -> dict[str, str]:
    """Return the passwords in the settings, by role name."""
    if not settings.has_database:
        return {}
    targets = (find_database_url(settings), find_owner_url(settings))
    return {target.user: target.password for target in targets if target.password}


def product_tables() -> list[str]:
    """Return the names of the tables of all registered Piccolo apps."""
    piccolo_hooks.install()  # for a project without a piccolo_conf.py
    return [table._meta.tablename for table in Finder().get_table_classes()]


async def set_up_roles(
    administrator: DatabaseUrl,
    settings: Settings,
    roles: Roles,
    passwords: Mapping[str, str] | None = None,
    *,
    sets_passwords: bool = True,
) -> RolesReport:
    """Create or repair both roles, the database and all privileges.

    A second call has no effect. Rows and the passwords of existing roles are not changed.

    Args:
        administrator: URL of a superuser, or of a role with CREATEROLE and CREATEDB.
        settings: timeouts and encryption of the connections.
        roles: names of roles, database and schema.
        passwords: passwords of new roles by role name. Missing ones are generated at random.
        sets_passwords: False for a server that requires no passwords.

    Raises:
        RolesError: the server refused a statement, or row-level security would not apply to the
            application role. The transaction that failed changed nothing.
        DatabaseUnavailable, DatabaseRefused: the administrator cannot connect.
    """
    direct = settings.model_copy(update={"db_pgbouncer": False})
    try:
        async with _AdministratorConnection(administrator, direct) as connection:
            created, generated = await _create(connection, roles, passwords or {}, sets_passwords)
            target = replace(administrator, database=roles.database)
            async with _AdministratorConnection(target, direct) as inner:
                async with inner.transaction():
                    await inner.execute(set_privileges(roles, product_tables()))
                owned = [row[0] for row in await inner.fetch(_OWNED, roles.application)]
            sees_every_row = await connection.fetchval(_SEES_EVERY_ROW, roles.owner)
    except asyncpg.PostgresError as error:
        raise RolesError(f"{administrator}: {error.args[0]} ({error.sqlstate})") from error
    return RolesReport(created, generated, bool(sees_every_row), tuple(owned))


class _AdministratorConnection:
    """Context manager with a connection of the administrator."""

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
    """Create the missing roles and the missing database.

    The advisory lock belongs to the session, so that it also covers the later work in the
    database of the product.

    Returns:
        The new roles, and the random passwords by role name.
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
    """Return the SCRAM hash of a password, so that no log of the server can contain the password.

    A password with non-ASCII characters is returned unchanged: the server has to normalise it
    before it computes the hash.
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
    """Return the first schema of the application's search path, where it creates tables."""
    entries = target.server_settings.get("search_path", "").split(",")
    names = [entry.strip().strip('"') for entry in entries]
    return next((name for name in names if name and name != "$user"), "public")


def summary(roles: Roles, report: RolesReport, administrator: DatabaseUrl) -> list[str]:
    """Return the lines to print: roles, database, random passwords and remaining work."""

    def state(name: str) -> str:
        return f"{name} ({'created' if name in report.created else 'existed'})"

    sees = "sees every row" if report.owner_sees_every_row else "does NOT see every row"
    lines = [
        f"Owner:       {state(roles.owner)}, for migrations and backups, {sees}",
        f"Application: {state(roles.application)}, for reading and writing rows",
        f"Database:    {roles.database}, schema {roles.schema}",
    ]
    if not report.owner_sees_every_row:
        lines += [MISSING_BYPASS]
    if report.still_owned:
        others = ", ".join(report.still_owned)
        lines += [f"{roles.application} still owns objects outside this schema: {others}"]
    if settings := _environment(roles, report, administrator):
        lines += ["", "Passwords are shown only once. For .env:", *settings]
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
    """Return the name as a value of a ``.env`` file, in quotes if it has special characters."""
    if name.replace("_", "").replace("-", "").isalnum():
        return name
    return "'" + name.replace("\\", r"\\").replace("'", r"\'") + "'"
