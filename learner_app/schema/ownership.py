"""Privileges that migrations need, and those that they leave to the application role."""

from typing import Any

from piccolo.apps.migrations.tables import Migration

from learner_app.errors import MigrationError
from learner_app.schema.schema_object import literal

JOURNAL = Migration._meta.tablename

_PRIVILEGES = f"""
    SELECT current_user, current_database(), current_schema(),
           has_schema_privilege(current_schema(), 'CREATE') AND NOT EXISTS (
               SELECT FROM pg_class
               WHERE relnamespace = quote_ident(current_schema())::regnamespace
                 AND relname = {literal(JOURNAL)} AND NOT pg_has_role(relowner, 'USAGE'))
"""

_PROTECT_JOURNAL = f"""DO $body$
DECLARE
  journal record;
BEGIN
  FOR journal IN
    SELECT DISTINCT format('%I.%I', nspname, relname) AS name,
           CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END AS role
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace, aclexplode(relacl)
    WHERE relnamespace = quote_ident(current_schema())::regnamespace
      AND relname = {literal(JOURNAL)} AND relkind = 'r' AND grantee <> relowner
  LOOP
    EXECUTE format('REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON %s FROM %s',
                   journal.name, journal.role);
  END LOOP;
END $body$"""


async def require_owner(connection: Any) -> None:
    """Raise MigrationError if the connected role may not change the schema.

    Without a schema in the search path nothing is known: the statement itself fails then.
    """
    user, database, schema, may_migrate = await connection.fetchrow(_PRIVILEGES)
    if schema is not None and not may_migrate:
        raise MigrationError(
            f"role {user!r} may not change schema {schema!r} of database {database!r}: connect as "
            "the owner role, by DATABASE_OWNER_URL or by DB_OWNER_USER and DB_OWNER_PASSWORD"
        )


async def protect_journal(connection: Any) -> None:
    """Revoke the write privileges on the migration journal that others than its owner have.

    Default privileges give the application role all rows of every new table, this one included.
    """
    await connection.execute(_PROTECT_JOURNAL)
