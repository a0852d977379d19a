"""Privileges on the migration history and the schema."""

from typing import Any

from piccolo.apps.migrations.tables import Migration

from learner_app.errors import MigrationError
from learner_app.schema.schema_object import literal

HISTORY_TABLE = Migration._meta.tablename
"""Piccolo's table of applied migrations."""

_PRIVILEGES = f"""
    SELECT current_user, current_database(), current_schema(),
           has_schema_privilege(current_schema(), 'CREATE') AND NOT EXISTS (
               SELECT FROM pg_class
               WHERE relnamespace = quote_ident(current_schema())::regnamespace
                 AND relname = {literal(HISTORY_TABLE)} AND NOT pg_has_role(relowner, 'USAGE'))
"""

_PROTECT_HISTORY = f"""DO $body$
DECLARE
  history record;
BEGIN
  FOR history IN
    SELECT DISTINCT format('%I.%I', nspname, relname) AS name,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS role
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, aclexplode(relacl)
    WHERE relnamespace = quote_ident(current_schema())::regnamespace
      AND relname = {literal(HISTORY_TABLE)} AND relkind = 'r' AND grantee <> relowner
  LOOP
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s',
                   history.name, history.role);
  END LOOP;
END $body$"""


async def require_owner(connection: Any) -> None:
    """Raise MigrationError if the connected role may not change the schema.

    Without an existing schema in ``search_path`` the check passes; the first statement then fails.
    """
    user, database, schema, may_migrate = await connection.fetchrow(_PRIVILEGES)
    if schema is not None and not may_migrate:
        raise MigrationError(
            f"role {user!r} may not change schema {schema!r} of database {database!r}: connect as "
            "the owner role, by DATABASE_OWNER_URL or by DB_OWNER_USER and DB_OWNER_PASSWORD"
        )


async def protect_history(connection: Any) -> None:
    """Revoke all write privileges on the migration history except those of its owner.

    ALTER DEFAULT PRIVILEGES grants the application role writes on every new table, also this one.
    """
    await connection.execute(_PROTECT_HISTORY)
