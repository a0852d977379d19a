"""SQL that creates or repairs the owner role and the application role of a database.

Every part can be run any number of times. ``learner roles`` runs the parts, and ``learner roles
--sql`` prints the same parts as a script for psql.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import count

from learner_app.errors import RolesError
from learner_app.schema.ownership import HISTORY_TABLE
from learner_app.schema.schema_object import MAX_IDENTIFIER_BYTES, literal, quoted

LOCK_TIMEOUT_SECONDS = 10
"""Time limit for the lock on a table whose owner changes, during which its new readers wait."""


@dataclass(frozen=True)
class Roles:
    """Names of the owner role, the application role, their database and schema.

    Raises:
        RolesError: a name is empty or too long, or both roles have the same name.
    """

    database: str
    owner: str
    """Role that owns the schema, runs migrations and backups, and sees every row."""
    application: str
    """Role that reads and writes rows and owns nothing; row-level security applies to it."""
    schema: str = "public"

    def __post_init__(self) -> None:
        for kind, name in asdict(self).items():
            if not 0 < len(name.encode()) <= MAX_IDENTIFIER_BYTES or "\0" in name:
                raise RolesError(f"the name of the {kind} must have 1 to 63 bytes")
        if self.owner == self.application:
            raise RolesError(
                f"role {self.owner!r} cannot be both owner role and application role: name "
                "another role with --owner or --app"
            )


def create_roles(roles: Roles) -> str:
    """Return SQL that creates the missing roles and corrects the attributes of both.

    The SQL raises an exception if row-level security would not apply to the application role. It
    raises a warning if the administrator may not grant BYPASSRLS to the owner role.
    """
    owner, app = quoted(roles.owner), quoted(roles.application)
    return _block(f"""
DECLARE
  own text := {literal(roles.owner)};
  app text := {literal(roles.application)};
  entry pg_roles;
  bypassing text;
BEGIN
  IF app = current_user THEN
    RAISE EXCEPTION 'role "%" is the administrator, name another application role', app;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = own) THEN
    CREATE ROLE {owner} LOGIN;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = app) THEN
    CREATE ROLE {app} LOGIN;
  END IF;

  -- An administrator without SUPERUSER needs membership in a role to act for it.
  IF NOT pg_has_role(own, 'USAGE') THEN
    GRANT {owner} TO CURRENT_USER;
  END IF;
  IF NOT pg_has_role(app, 'USAGE') THEN
    GRANT {app} TO CURRENT_USER;
  END IF;

  SELECT * INTO entry FROM pg_roles WHERE rolname = own;
  IF NOT entry.rolcanlogin THEN
    ALTER ROLE {owner} LOGIN;
  END IF;
  IF NOT entry.rolbypassrls AND NOT entry.rolsuper THEN
    BEGIN
      ALTER ROLE {owner} BYPASSRLS;
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE WARNING 'role "%" cannot be granted BYPASSRLS by role "%"', own, current_user;
    END;
  END IF;

  SELECT * INTO entry FROM pg_roles WHERE rolname = app;
  IF entry.rolsuper THEN
    RAISE EXCEPTION 'role "%" is a superuser, name another application role', app;
  END IF;
  IF NOT entry.rolcanlogin THEN
    ALTER ROLE {app} LOGIN;
  END IF;
  IF entry.rolbypassrls THEN
    ALTER ROLE {app} NOBYPASSRLS;
  END IF;
  IF entry.rolcreaterole THEN
    ALTER ROLE {app} NOCREATEROLE;
  END IF;
  IF entry.rolreplication THEN
    ALTER ROLE {app} NOREPLICATION;
  END IF;
  IF EXISTS (SELECT FROM pg_auth_members m JOIN pg_roles r ON r.oid = m.roleid
             WHERE r.rolname = own AND m.member = entry.oid) THEN
    REVOKE {owner} FROM {app};
  END IF;
  SELECT rolname INTO bypassing FROM pg_roles
  WHERE rolname <> app AND (rolname = own OR rolsuper OR rolbypassrls)
    AND pg_has_role(app, oid, 'MEMBER') LIMIT 1;
  IF bypassing IS NOT NULL THEN
    RAISE EXCEPTION 'role "%" is a member of role "%", which bypasses row-level security',
      app, bypassing;
  END IF;
END""")


def create_database(roles: Roles) -> str:
    """Return the statement that creates the database, to be run outside a transaction."""
    database, owner = quoted(roles.database), quoted(roles.owner)
    return f"CREATE DATABASE {database} OWNER {owner} ENCODING 'UTF8' TEMPLATE template0"


def set_privileges(roles: Roles, tables: Sequence[str]) -> str:
    """Return SQL that sets ownership, privileges and default privileges in the database.

    The owner role becomes the owner of all objects in the schema that the application role owns,
    and of the listed tables with their trigger functions. Other objects are not changed.
    Views and SECURITY DEFINER routines of the application role are changed to run with the
    privileges of their caller, because those of the owner role bypass row-level security.

    Args:
        roles: names of roles, database and schema.
        tables: names of the product's tables.
    """
    return "\n".join((_set_schema(roles), _set_owners(roles, tables), _set_grants(roles)))


def _set_schema(roles: Roles) -> str:
    owner, app = quoted(roles.owner), quoted(roles.application)
    database, schema = quoted(roles.database), quoted(roles.schema)
    return f"""SET LOCAL lock_timeout = '{LOCK_TIMEOUT_SECONDS}s';
{
        _block(f'''
DECLARE
  app text := {literal(roles.application)};
BEGIN
  IF EXISTS (SELECT FROM pg_database
             WHERE datname = current_database() AND pg_get_userbyid(datdba) = app) THEN
    ALTER DATABASE {database} OWNER TO {owner};
  END IF;
  IF NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = {literal(roles.schema)}) THEN
    CREATE SCHEMA {schema} AUTHORIZATION {owner};
  END IF;
  IF EXISTS (SELECT FROM pg_namespace
             WHERE nspname = {literal(roles.schema)} AND pg_get_userbyid(nspowner) = app) THEN
    ALTER SCHEMA {schema} OWNER TO {owner};
  END IF;
END''')
    }
REVOKE CREATE ON DATABASE {database} FROM {app};
GRANT CONNECT, TEMPORARY ON DATABASE {database} TO {owner}, {app};
REVOKE CREATE ON SCHEMA {schema} FROM PUBLIC, {app};
GRANT USAGE, CREATE ON SCHEMA {schema} TO {owner};
GRANT USAGE ON SCHEMA {schema} TO {app};"""


def _set_owners(roles: Roles, tables: Sequence[str]) -> str:
    named = ", ".join(literal(table) for table in sorted({HISTORY_TABLE, *tables}))
    return _block(f"""
DECLARE
  own oid := (SELECT oid FROM pg_roles WHERE rolname = {literal(roles.owner)});
  app oid := (SELECT oid FROM pg_roles WHERE rolname = {literal(roles.application)});
  place oid := (SELECT oid FROM pg_namespace WHERE nspname = {literal(roles.schema)});
  product oid[] := ARRAY(SELECT oid FROM pg_class
                         WHERE relnamespace = place AND relname = ANY (ARRAY[{named}])
                           AND relkind IN ('r', 'p'));
  change text;
BEGIN
  FOR change IN
    -- with the privileges of the owner role they would return the rows of every tenant
    SELECT format('ALTER VIEW %s SET (security_invoker = true)', c.oid::regclass) FROM pg_class c
    WHERE relnamespace = place AND relkind = 'v' AND relowner = app
    UNION ALL
    SELECT format('ALTER ROUTINE %s SECURITY INVOKER', p.oid::regprocedure) FROM pg_proc p
    WHERE pronamespace = place AND proowner = app AND prosecdef
  LOOP
    EXECUTE change;
  END LOOP;
  FOR change IN
    -- ALTER TABLE accepts every kind of relation; sequences of columns follow their table
    SELECT format('ALTER TABLE %s', c.oid::regclass) FROM pg_class c
    WHERE relnamespace = place AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
      AND (relowner = app OR c.oid = ANY (product) AND relowner <> own)
      AND NOT EXISTS (SELECT FROM pg_depend d
                      WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                        AND (d.deptype = 'e' OR d.deptype IN ('a', 'i') AND c.relkind = 'S'))
    UNION ALL
    SELECT format('ALTER ROUTINE %s', p.oid::regprocedure) FROM pg_proc p
    WHERE pronamespace = place
      AND (proowner = app OR proowner <> own AND EXISTS (
        SELECT FROM pg_trigger WHERE tgfoid = p.oid AND tgrelid = ANY (product)))
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass
                      AND d.objid = p.oid AND d.deptype = 'e')
    UNION ALL
    SELECT format('ALTER TYPE %s', format_type(t.oid, NULL)) FROM pg_type t
    LEFT JOIN pg_class c ON c.oid = t.typrelid
    WHERE typnamespace = place AND typowner = app AND typcategory <> 'A'
      AND (typrelid = 0 OR c.relkind = 'c') AND typtype <> 'm'
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_type'::regclass
                      AND d.objid = t.oid AND d.deptype = 'e')
  LOOP
    EXECUTE change || {literal(f" OWNER TO {quoted(roles.owner)}")};
  END LOOP;
END""")


def _set_grants(roles: Roles) -> str:
    owner, app, schema = quoted(roles.owner), quoted(roles.application), quoted(roles.schema)
    default = f"ALTER DEFAULT PRIVILEGES FOR ROLE {owner} IN SCHEMA {schema}"
    return f"""{default} REVOKE ALL ON TABLES FROM {app};
{default} GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {app};
{default} GRANT USAGE, SELECT ON SEQUENCES TO {app};
{default} GRANT EXECUTE ON ROUTINES TO {app};
{
        _block(f'''
DECLARE
  item record;
BEGIN
  FOR item IN
    SELECT c.oid::regclass::text AS name,
           CASE WHEN relkind = 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
           CASE WHEN relkind = 'S' THEN 'USAGE, SELECT'
                WHEN relkind = 'm' OR relname = {literal(HISTORY_TABLE)} THEN 'SELECT'
                ELSE 'SELECT, INSERT, UPDATE, DELETE' END AS privileges
    FROM pg_class c
    WHERE relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = {literal(roles.schema)})
      AND pg_get_userbyid(relowner) = {literal(roles.owner)}
      AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT p.oid::regprocedure::text, 'ROUTINE', 'EXECUTE' FROM pg_proc p
    WHERE pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = {literal(roles.schema)})
      AND pg_get_userbyid(proowner) = {literal(roles.owner)}
  LOOP
    EXECUTE format('REVOKE ALL ON %s %s FROM ', item.kind, item.name) || {literal(app)};
    EXECUTE format('GRANT %s ON %s %s TO ', item.privileges, item.kind, item.name)
      || {literal(app)};
  END LOOP;
END''')
    }"""


def psql_script(roles: Roles, tables: Sequence[str]) -> str:
    r"""Return all parts as a script for psql, with ``\password`` commands for the passwords."""
    create = literal(create_database(roles))
    missing = f"NOT EXISTS (SELECT FROM pg_database WHERE datname = {literal(roles.database)})"
    return rf"""\set ON_ERROR_STOP on
BEGIN;
{create_roles(roles)}
COMMIT;
SELECT {create} WHERE {missing} \gexec
-- Set passwords for new roles; psql prompts for them and sends only a hash.
-- \password {quoted(roles.owner)}
-- \password {quoted(roles.application)}
\connect -reuse-previous=on {_psql_database(roles.database)}
BEGIN;
{set_privileges(roles, tables)}
COMMIT;"""


def _psql_database(name: str) -> str:
    r"""Return the argument of ``\connect`` for a database name with any characters."""
    escaped = name.replace("\\", r"\\").replace("'", r"\'")
    return quoted(f"dbname='{escaped}'")


def _block(body: str) -> str:
    """Return a DO statement, with a dollar tag that the body does not contain."""
    tag = next(tag for n in count() if (tag := f"$roles{n}$") not in body)
    return f"DO {tag}{body} {tag};"
