"""Privileges of the owner role and the application role, and how both are created."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from learner_app.accounts.repositories import (
    AccountRepository,
    AuthSessionRepository,
    UserRepository,
    VerificationRepository,
)
from learner_app.admin.staff import add_staff, renew_password
from learner_app.conf import DB
from learner_app.database.dsn import parse_url
from learner_app.database.engine import DatabaseEngine
from learner_app.database.health import check_database
from learner_app.errors import AccessDenied, MigrationError, RolesError, TransactionError
from learner_app.operations.backup import tables_to_replace
from learner_app.operations.embedded import SUPERUSER, EmbeddedServer
from learner_app.operations.migrate import (
    apply_migrations,
    plan_migrations,
    plan_roll_back,
    roll_back,
)
from learner_app.operations.reset import drop_tables, plan_reset
from learner_app.operations.role_script import Roles, psql_script
from learner_app.operations.roles import product_tables, set_up_roles
from learner_app.operations.seed.bulk import insert_bulk_events
from learner_app.operations.seed.insert import insert_seed
from learner_app.schema.pending import declared_migrations
from learner_app.settings import Settings
from tests.accounts.factories import HOUR, PASSWORD, registered
from tests.commands import run
from tests.operations.two_roles import PRIVILEGES, TwoRoles, program_environment, renamed
from tests.product import PROGRAMS, PROJECT
from tests.volume.million import FILL
from tests.volume.operations import EXEMPT, OPERATIONS, prepare

pytestmark = pytest.mark.slow

ON_EMBEDDED = pytest.mark.parametrize("any_server", ["embedded"], indirect=True)
OWNED = """
    SELECT count(*) FROM pg_shdepend WHERE deptype = 'o'
    AND refobjid = (SELECT oid FROM pg_roles WHERE rolname = $1)
"""
ATTRIBUTES = """
    SELECT rolname, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication, rolcanlogin
    FROM pg_roles WHERE rolname = ANY($1) ORDER BY rolname
"""


@pytest.fixture
async def engine(separated: TwoRoles) -> AsyncIterator[DatabaseEngine]:
    """The engine with its pool, connected as the application role."""
    DB.url, DB.owner_url = separated.app_url, separated.owner_url
    async with DB.running():
        yield DB
    DB.url = DB.owner_url = None


async def test_application_role_owns_nothing_and_the_owner_bypasses_row_security(
    separated: TwoRoles,
):
    roles = separated.roles
    assert await separated.fetch(OWNED, roles.application) == [(0,)]
    names = [roles.application, roles.owner]
    assert await separated.fetch(ATTRIBUTES, names) == [
        (roles.application, False, False, False, False, False, True),
        (roles.owner, False, True, False, False, False, True),
    ]


async def test_row_security_applies_to_the_application_role_only(
    separated: TwoRoles, engine: DatabaseEngine
):
    await separated.add_tenants()
    counted = "SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM tenant_members)"
    assert tuple(await engine.fetchrow(counted)) == (0, 0)
    async with engine.transaction():
        tenant = "00000000-0000-4000-8000-000000000002"
        await engine.execute("SELECT set_config('app.current_tenant_id', $1, true)", tenant)
        assert tuple(await engine.fetchrow(counted)) == (1, 1)
    with engine.as_owner():
        assert tuple(await engine.fetchrow(counted)) == (2, 2)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (a int)",
        "CREATE SCHEMA mine",
        "ALTER TABLE tenants DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenants_isolation ON tenants",
        "TRUNCATE sessions CASCADE",
        "DROP TABLE sessions",
        "INSERT INTO migration (name, app_name) VALUES ('a', 'b')",
        "UPDATE migration SET name = 'a'",
        "DELETE FROM migration",
        "SET ROLE {owner}",
    ],
)
@ON_EMBEDDED
@pytest.mark.slow
@pytest.mark.variants
async def test_application_role_cannot_change_the_schema(
    separated: TwoRoles, engine: DatabaseEngine, statement: str
):
    with pytest.raises(AccessDenied):
        await engine.execute(statement.format(owner=separated.roles.owner))


@pytest.mark.slow
@pytest.mark.variants
async def test_application_role_can_do_every_operation_of_every_repository(
    separated: TwoRoles, engine: DatabaseEngine
):
    await separated.execute(FILL)
    await separated.execute(
        "INSERT INTO behavioral_events (id, content_id, session_id, event_type, timestamp,"
        " playback_position, content_characteristics) SELECT 'e' || lpad(n::text, 7, '0'), 'c1',"
        " 's1', 'play', timestamptz '2026-01-01+00', 1, '{}' FROM generate_series(0, 20) AS n"
    )
    exempt = {name: getattr(one, name) for one, name in EXEMPT}
    operations = [work for works in OPERATIONS.values() for work in works.values()]
    operations.append(lambda: exempt["delete_content"]("c1"))
    for work in operations:
        with suppress(_Undone):
            async with engine.transaction():
                await prepare()
                await work()
                raise _Undone
    assert len(operations) > 120


class _Undone(Exception):
    """Exception that rolls an operation back."""


@pytest.mark.slow
async def test_application_role_can_run_accounts_staff_seed_and_health(
    engine: DatabaseEngine,
):
    await insert_seed(engine)
    assert await insert_bulk_events(engine, 200, lambda _done: None) == 200
    await add_staff("mia")
    await renew_password("mia")
    health = await check_database(engine)
    assert (health.status, health.pending_migrations) == ("ok", 0)

    users, devices = UserRepository(), AuthSessionRepository()
    codes, identities = VerificationRepository(), AccountRepository()
    anna = await registered()
    opened = await devices.sign_in(anna.email, PASSWORD, HOUR)
    assert (await devices.resolve(opened.token)).user.id == anna.id
    code = await codes.issue("verify:anna", HOUR)
    assert await codes.consume("verify:anna", code)
    await identities.link(anna.id, "google", "g-1")
    reset = await users.issue_reset(anna.email, timedelta(minutes=5))
    await users.reset_password(anna.email, reset.code, "another-horse-8")
    await codes.purge_expired()
    await devices.purge_expired()
    await users.export(anna.id)
    await users.delete(anna.id)
    assert await users.find(anna.id) is None


@ON_EMBEDDED
async def test_tracked_commits_and_ended_sessions_work_as_the_application_role(
    separated: TwoRoles, engine: DatabaseEngine
):
    async with engine.transaction(track_commit=True) as transaction:
        await engine.execute("INSERT INTO sessions (id) VALUES ('s1')")
    assert await engine.was_committed(transaction.transaction_id)
    idle = await asyncpg.connect(separated.app_url)
    assert await engine.fetchval("SELECT pg_terminate_backend($1)", idle.get_server_pid())
    idle.terminate()


async def test_application_role_can_use_tables_of_later_migrations(
    separated: TwoRoles, engine: DatabaseEngine
):
    await separated.execute(
        "CREATE TABLE later (id serial PRIMARY KEY, a int); CREATE VIEW seen AS TABLE later",
        separated.roles.owner,
    )
    assert await engine.fetchval("INSERT INTO later (a) VALUES (1) RETURNING id") == 1
    assert await engine.fetchval("SELECT count(*) FROM seen") == 1


@ON_EMBEDDED
async def test_owner_role_is_used_inside_the_block_only_and_not_in_other_tasks(
    separated: TwoRoles, engine: DatabaseEngine
):
    app, owner = separated.roles.application, separated.roles.owner
    inside, asked = asyncio.Event(), asyncio.Event()

    async def migrate() -> list[str]:
        with engine.as_owner():
            inside.set()
            await asked.wait()
            async with engine.transaction():
                first = await engine.fetchval("SELECT current_user")
            children = await asyncio.gather(*(engine.fetchval("SELECT current_user"),) * 1)
            return [first, *children, engine.target.user]

    work = asyncio.create_task(migrate())
    await inside.wait()
    assert await engine.fetchval("SELECT current_user") == app
    asked.set()
    assert await work == [owner, owner, owner]
    assert (await engine.fetchval("SELECT current_user"), engine.target.user) == (app, app)
    async with engine.transaction():
        with pytest.raises(TransactionError, match="inside a transaction"), engine.as_owner():
            pass


async def test_operations_that_need_the_owner_role_connect_as_it(
    separated: TwoRoles, engine: DatabaseEngine
):
    assert await plan_migrations(engine) == ""
    assert 'DROP TABLE "tenant' in await plan_roll_back(engine, "tenancy", "1")
    assert "tenants" in await tables_to_replace(engine)
    await drop_tables(engine, await plan_reset(engine))
    assert await tables_to_replace(engine) == []
    assert await engine.fetchval("SELECT current_user") == separated.roles.application


@pytest.mark.slow
@ON_EMBEDDED
@pytest.mark.long
async def test_migrations_as_the_application_role_name_the_setting(two_roles: TwoRoles):
    await two_roles.set_up()
    url = two_roles.app_url
    refused = run("migrate", url=url)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "DATABASE_OWNER_URL" in refused.stderr
    assert two_roles.roles.application in refused.stderr
    by_piccolo = piccolo("migrations", "forwards", "all", DATABASE_URL=url)
    assert by_piccolo.returncode != 0
    assert "DATABASE_OWNER_URL" in by_piccolo.stdout + by_piccolo.stderr
    assert await two_roles.fetch("SELECT count(*) FROM pg_tables WHERE schemaname='public'") == [
        (0,)
    ]

    done = run("migrate", **two_roles.environment)
    assert done.stdout.endswith(f"{len(declared_migrations())} migrations applied.\n"), done.stderr
    for command in (("rollback", "tenancy", "--yes"), ("reset", "--yes")):
        refused = run(*command, url=url)
        assert refused.returncode == 1, command
        assert refused.stderr.count("\n") == 1
        assert "DATABASE_OWNER_URL" in refused.stderr
    assert run("status", url=url).stdout.count("applied") == len(declared_migrations())
    assert run("migrate", url=url).stdout == "Nothing is pending.\n"
    DB.url = url
    async with DB.running():
        with pytest.raises(MigrationError, match="DATABASE_OWNER_URL"):
            await roll_back(DB, "tenancy", "1")
    DB.url = None


@ON_EMBEDDED
async def test_roll_back_from_code_connects_as_the_owner_role(two_roles: TwoRoles):
    await two_roles.set_up()
    await two_roles.migrate()
    DB.url, DB.owner_url = two_roles.app_url, two_roles.owner_url
    try:
        async with DB.running():
            await roll_back(DB, "tenancy", "1")
    finally:
        DB.url = DB.owner_url = None
    assert await two_roles.fetch("SELECT to_regclass('tenants')") == [(None,)]


@pytest.mark.slow
@pytest.mark.variants
async def test_commands_use_the_owner_role_for_the_schema_and_the_application_role_for_rows(
    two_roles: TwoRoles,
):
    roles = two_roles.roles
    await two_roles.set_up()
    settings = {"DATABASE_URL": two_roles.app_url, "DATABASE_OWNER_URL": two_roles.owner_url}
    done = piccolo("migrations", "forwards", "all", **settings)
    assert done.returncode == 0, done.stdout + done.stderr
    owners = "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'"
    assert await two_roles.fetch(owners) == [(roles.owner,)]
    assert run("rollback", "tenancy", "--yes", **settings).stdout.endswith("Rolled back.\n")
    assert run("migrate", **settings).returncode == 0
    assert run("seed", **settings).returncode == 0
    reset = run("reset", "--yes", **settings)
    assert f"{len(declared_migrations())} migrations applied" in reset.stdout, reset.stderr
    assert await two_roles.fetch(owners) == [(roles.owner,)]
    assert await two_roles.fetch(OWNED, roles.application) == [(0,)]
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await two_roles.execute("DELETE FROM migration", roles.application)


def piccolo(*arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAMS / "piccolo", *arguments],
        env=program_environment(**settings),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
    )


async def test_second_run_changes_nothing(separated: TwoRoles):
    before = await separated.fetch(PRIVILEGES, "public")
    report = await separated.set_up()
    assert (report.created, dict(report.passwords)) == ((), {})
    assert await separated.fetch(PRIVILEGES, "public") == before


@pytest.mark.slow
async def test_concurrent_runs_all_succeed(two_roles: TwoRoles):
    reports = await asyncio.gather(*(two_roles.set_up() for _ in range(6)))
    assert sum(len(report.created) for report in reports) == 2
    await two_roles.migrate()


async def test_database_of_one_role_is_converted_and_keeps_its_rows(two_roles: TwoRoles):
    await two_roles.create_single_role()
    roles = two_roles.roles
    await two_roles.add_tenants()
    await two_roles.execute(
        "CREATE TABLE mine (id serial, kind text); INSERT INTO mine (kind) VALUES ('a');"
        "CREATE VIEW sight AS TABLE mine; CREATE TYPE mood AS ENUM ('good'); CREATE DOMAIN age AS"
        " int; CREATE SEQUENCE counter; CREATE FUNCTION one() RETURNS int LANGUAGE sql AS"
        " 'SELECT 1'; CREATE PROCEDURE two() LANGUAGE sql AS 'SELECT 2'",
        roles.application,
    )
    old_session = await asyncpg.connect(two_roles.app_url)
    report = await two_roles.set_up()
    assert report.created == (roles.owner,)
    assert report.owner_sees_every_row
    assert report.still_owned == ()
    assert await two_roles.fetch(OWNED, roles.application) == [(0,)]
    counted = "SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM mine)"
    assert await two_roles.fetch(counted, user=roles.owner) == [(2, 1)]
    assert tuple(await old_session.fetchrow(counted)) == (0, 1)
    assert await old_session.fetchval("INSERT INTO mine (kind) VALUES ('b') RETURNING id") == 2
    await old_session.close()
    DB.url, DB.owner_url = two_roles.app_url, two_roles.owner_url
    assert await apply_migrations(DB) == 0
    DB.url = DB.owner_url = None


@pytest.mark.slow
async def test_views_and_functions_of_a_converted_role_show_no_other_tenant(two_roles: TwoRoles):
    await two_roles.create_single_role()
    await two_roles.add_tenants()
    roles = two_roles.roles
    await two_roles.execute(
        "CREATE VIEW sight AS TABLE tenants;"
        "CREATE FUNCTION amount() RETURNS bigint SECURITY DEFINER LANGUAGE sql"
        " AS 'SELECT count(*) FROM tenants'",
        roles.application,
    )
    counted = "SELECT (SELECT count(*) FROM sight), amount()"
    assert await two_roles.fetch(counted, user=roles.application) == [(0, 0)]
    await two_roles.set_up()
    assert await two_roles.fetch(counted, user=roles.application) == [(0, 0)]
    assert await two_roles.fetch(counted, user=roles.owner) == [(2, 2)]


@pytest.mark.slow
async def test_tables_that_an_administrator_migrated_get_their_owner(two_roles: TwoRoles):
    roles = two_roles.roles
    await two_roles.execute(f'CREATE DATABASE "{roles.database}"', database=SUPERUSER)
    DB.url = two_roles.url(SUPERUSER)
    async with DB.running():
        await apply_migrations(DB)
    DB.url = None
    await two_roles.execute("CREATE TABLE elsewhere (a int)")
    await two_roles.set_up()
    owners = "SELECT tableowner, count(*) FROM pg_tables WHERE schemaname = 'public' GROUP BY 1"
    assert dict(await two_roles.fetch(owners)) == {
        SUPERUSER: 1,
        roles.owner: len(product_tables()) + 1,
    }
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await two_roles.execute("SELECT * FROM elsewhere", roles.application)
    done = run("rollback", "tenancy", "--yes", **two_roles.environment)
    assert done.returncode == 0, done.stderr


async def test_attributes_and_privileges_of_existing_roles_are_corrected(separated: TwoRoles):
    app, owner = separated.roles.application, separated.roles.owner
    await separated.execute(
        f"ALTER ROLE {app} BYPASSRLS CREATEROLE REPLICATION NOLOGIN;"
        f"ALTER ROLE {owner} NOBYPASSRLS NOLOGIN; GRANT {owner} TO {app};"
        f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {app};"
        f"REVOKE ALL ON DATABASE {separated.roles.database} FROM PUBLIC, {app};"
        f"REVOKE USAGE ON SCHEMA public FROM {app}; GRANT ALL ON SCHEMA public TO PUBLIC"
    )
    await separated.set_up()
    assert await separated.fetch(ATTRIBUTES, [app, owner]) == [
        (app, False, False, False, False, False, True),
        (owner, False, True, False, False, False, True),
    ]
    for refused in ("TRUNCATE sessions CASCADE", "CREATE TABLE mine ()", f"SET ROLE {owner}"):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await separated.execute(refused, app)
    await separated.execute("CREATE TEMP TABLE staging (a int); SELECT * FROM migration", app)


@ON_EMBEDDED
@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("ALTER ROLE {app} SUPERUSER", "is a superuser"),
        ("GRANT {boss} TO {app}", "is a member of role"),
        ("GRANT {middle} TO {app}", "is a member of role"),
    ],
)
@pytest.mark.variants
async def test_role_that_would_bypass_row_security_is_refused(
    two_roles: TwoRoles, statement: str, reason: str
):
    app = two_roles.roles.application
    names = {"app": app, "boss": f"boss_of_{app}", "middle": f"middle_of_{app}"}
    create = "CREATE ROLE {app} LOGIN; CREATE ROLE {boss} BYPASSRLS; CREATE ROLE {middle};"
    create += "GRANT {boss} TO {middle};"
    await two_roles.execute((create + statement).format(**names), database=SUPERUSER)
    try:
        with pytest.raises(RolesError, match=reason):
            await two_roles.set_up()
        owner = "SELECT count(*) FROM pg_roles WHERE rolname = $1"
        assert await two_roles.fetch(owner, two_roles.roles.owner, database=SUPERUSER) == [(0,)]
    finally:
        drop = "ALTER ROLE {app} NOSUPERUSER; DROP ROLE {boss}; DROP ROLE {middle}"
        await two_roles.execute(drop.format(**names), database=SUPERUSER)


@ON_EMBEDDED
async def test_invalid_names_are_refused(two_roles: TwoRoles):
    with pytest.raises(RolesError, match="cannot be both"):
        renamed(two_roles.roles, owner=two_roles.roles.application)
    for name in ("", "x" * 64, "a\0b"):
        with pytest.raises(RolesError, match="application must have 1 to 63 bytes"):
            renamed(two_roles.roles, application=name)
    with pytest.raises(RolesError, match="is the administrator"):
        await two_roles.set_up(renamed(two_roles.roles, application=SUPERUSER))
    with pytest.raises(RolesError, match="reserved"):
        await two_roles.set_up(renamed(two_roles.roles, owner="pg_owner"))


HOSTILE = """it's "quoted"; $roles0$ \\ DROP %s :x"""


@pytest.mark.slow
async def test_names_with_sql_in_them_are_quoted(two_roles: TwoRoles):
    number = two_roles.roles.owner
    two_roles.roles = renamed(
        two_roles.roles,
        owner=f"o {HOSTILE}{number}"[:60],
        application=f"a {HOSTILE}{number}"[:60],
        database=f"learner_test {HOSTILE} = {number}"[:60],
        schema=f"s {HOSTILE}",
    )
    roles = two_roles.roles
    await two_roles.set_up()
    path = roles.schema.replace('"', '""')
    await two_roles.execute(f'CREATE TABLE "{path}".sessions (a int)', roles.owner)
    await two_roles.set_up()
    await two_roles.fetch(f'SELECT * FROM "{path}".sessions', user=roles.application)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await two_roles.execute(f'TRUNCATE "{path}".sessions', roles.application)


@pytest.mark.slow
async def test_script_for_psql_has_the_same_result(two_roles: TwoRoles):
    """The script also works with names that contain SQL, and a second time."""
    plain = two_roles.roles
    hostile = renamed(
        plain, schema=f"s {HOSTILE}", database=f"learner_test {HOSTILE} ={plain.owner}"[:60]
    )
    for roles in (plain, hostile):
        two_roles._databases.add(roles.database)
        for _ in range(2):
            psql = [two_roles.programs / "psql", "-X", "-q", "-h", two_roles.socket]
            done = subprocess.run(
                [*psql, "-U", SUPERUSER, "-d", SUPERUSER],
                input=psql_script(roles, product_tables()),
                env={"PATH": os.environ["PATH"]},
                capture_output=True,
                text=True,
                check=False,
            )
            assert (done.returncode, done.stderr) == (0, "")
        schema = '"' + roles.schema.replace('"', '""') + '"'
        after = await two_roles.fetch(PRIVILEGES, schema, database=roles.database)
        await two_roles.set_up(roles)
        assert await two_roles.fetch(PRIVILEGES, schema, database=roles.database) == after
    await two_roles.migrate()


@pytest.mark.slow
@ON_EMBEDDED
async def test_schema_of_the_search_path_is_the_one_that_is_separated(two_roles: TwoRoles):
    await two_roles.set_up(renamed(two_roles.roles, schema="lessons"))
    url = f"{two_roles.app_url}&search_path=lessons"
    settings = {"DATABASE_URL": url, "DB_OWNER_USER": two_roles.roles.owner}
    done = run("migrate", **settings)
    assert done.returncode == 0, done.stderr
    assert run("seed", **settings).returncode == 0
    owners = "SELECT DISTINCT schemaname, tableowner FROM pg_tables WHERE tablename = 'tenants'"
    assert await two_roles.fetch(owners) == [("lessons", two_roles.roles.owner)]


@pytest.mark.slow
async def test_administrator_without_superuser_rights(two_roles: TwoRoles):
    """As on managed servers: with CREATEROLE and CREATEDB only, BYPASSRLS cannot be granted."""
    name = f"admin_{two_roles.roles.owner}"
    await two_roles.execute(f"CREATE ROLE {name} LOGIN CREATEROLE CREATEDB", database=SUPERUSER)
    try:
        administrator = two_roles.administrator.__class__(
            two_roles.administrator.hosts, two_roles.administrator.ports, name, SUPERUSER
        )
        for _ in range(2):
            report = await two_roles.set_up(administrator=administrator)
            assert not report.owner_sees_every_row
        await two_roles.migrate()
        await two_roles.add_tenants()
        counted = "SELECT count(*) FROM tenants"
        for role in (two_roles.roles.owner, two_roles.roles.application):
            assert await two_roles.fetch(counted, user=role) == [(0,)]
        assert await two_roles.fetch(OWNED, two_roles.roles.application) == [(0,)]
    finally:
        await two_roles.remove()
        await two_roles.execute(f"DROP OWNED BY {name}", database=SUPERUSER)
        await two_roles.execute(f"DROP ROLE {name}", database=SUPERUSER)


@pytest.mark.slow
@ON_EMBEDDED
async def test_administrator_with_bypassrls_grants_it_to_the_owner_role(two_roles: TwoRoles):
    """From PostgreSQL 16 on, as on Azure and Neon; the administrator may also be the owner."""
    name = f"admin_{two_roles.roles.owner}"
    attributes = "LOGIN CREATEROLE CREATEDB BYPASSRLS"
    await two_roles.execute(f"CREATE ROLE {name} {attributes}", database=SUPERUSER)
    target = two_roles.administrator
    administrator = type(target)(target.hosts, target.ports, name, SUPERUSER)
    try:
        for roles in (two_roles.roles, renamed(two_roles.roles, owner=name)):
            report = await two_roles.set_up(roles, administrator=administrator)
            assert report.owner_sees_every_row
            await two_roles.remove()
    finally:
        await two_roles.execute(f"DROP OWNED BY {name}", database=SUPERUSER)
        await two_roles.execute(f"DROP ROLE {name}", database=SUPERUSER)


@pytest.mark.slow
@ON_EMBEDDED
async def test_run_while_an_application_serves(separated: TwoRoles, engine: DatabaseEngine):
    """Open read transactions do not delay it, and temporary tables do not count as owned."""
    async with engine.connection() as connection:
        await connection.execute("CREATE TEMP TABLE staging (a int)")
        async with engine.transaction():
            await engine.fetch("SELECT count(*) FROM sessions")
            async with asyncio.timeout(20):
                assert (await separated.set_up()).still_owned == ()


@ON_EMBEDDED
@pytest.mark.slow
async def test_command_reads_the_settings_and_shows_random_passwords_once(two_roles: TwoRoles):
    roles = two_roles.roles
    settings = {
        "DATABASE_URL": two_roles.app_url.replace("@", ":secret%20of%20app@"),
        "DATABASE_ADMIN_URL": two_roles.url(SUPERUSER, SUPERUSER),
    }
    two_roles.roles = renamed(roles, owner=f"{roles.application}_owner")
    first = run("roles", **settings)
    assert first.returncode == 0, first.stderr
    assert f"DB_OWNER_USER={roles.application}_owner\nDB_OWNER_PASSWORD=" in first.stdout
    assert "secret" not in first.stdout
    stored = "SELECT rolpassword LIKE 'SCRAM-SHA-256$4096:%' FROM pg_authid WHERE rolname = ANY($1)"
    names = [two_roles.roles.owner, roles.application]
    assert await two_roles.fetch(stored, names) == [(True,), (True,)]
    second = run("roles", **settings)
    assert "PASSWORD" not in second.stdout
    assert second.stdout.count("existed") == 2
    script = run("roles", "--sql", **settings).stdout
    assert "secret" not in script
    assert f'CREATE ROLE "{roles.application}_owner" LOGIN' in script
    settings.pop("DATABASE_ADMIN_URL")
    refused = run("roles", **settings)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "DATABASE_ADMIN_URL" in refused.stderr


@pytest.mark.slow
@pytest.mark.parametrize("password", ["plain 'word' \\ %", "geheim-ü-пароль", None])
async def test_password_of_a_created_role_is_accepted(open_folder: Path, password: str | None):
    server = EmbeddedServer(open_folder / "data")
    server.start()
    try:
        rules = server.data.resolve() / "pg_hba.conf"
        rules.write_text(f"local all {SUPERUSER} trust\nlocal all all scram-sha-256\n")
        administrator = parse_url("server", server.url(SUPERUSER, SUPERUSER))
        given = {} if password is None else {"app": password}
        roles = Roles("learner_test", "own", "app")
        report = await set_up_roles(administrator, Settings(), roles, given)
        assert set(report.passwords) == {"own", "app"} - set(given)
        connection = await asyncpg.connect(server.url(SUPERUSER, SUPERUSER))
        await connection.execute("SELECT pg_reload_conf()")
        await connection.close()
        accepted = password or report.passwords["app"]
        connection = await asyncpg.connect(server.url("learner_test", "app"), password=accepted)
        await connection.close()
        with pytest.raises(asyncpg.InvalidPasswordError):
            await asyncpg.connect(server.url("learner_test", "app"), password="wrong")
    finally:
        server.stop()
