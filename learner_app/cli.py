"""The ``learner`` command."""

import asyncio
import io
import logging
import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from learner_app.database.dsn import DatabaseUrl, parse_url
from learner_app.errors import DatabaseError, LearnerError, SettingsError
from learner_app.settings import Settings, load_settings, use_package_conf

PROGRAM = "learner"
ANSWER_SECONDS = 1.0
"""How long a question waits for an answer from a pipe or a file."""

MISSING_OBJECTS = ("42P01", "42703")
"""SQLSTATEs of a table or a column that the database lacks."""

cli = typer.Typer(
    help="The data foundation of adaptive-learning applications.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
staff = typer.Typer(help="Who may sign in to the admin.", no_args_is_help=True)
cli.add_typer(staff, name="staff")

Name = Annotated[str, typer.Argument(help="Name the person signs in with.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def main() -> None:
    """Run the command. An error is one line on standard error and exit code 1."""
    with _one_line_errors():
        sys.path.insert(0, str(Path.cwd()))
        use_package_conf()
        _prepare_output()
        try:
            cli(prog_name=PROGRAM)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()


@contextmanager
def _one_line_errors() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:  # the reader, such as `head`, has what it wanted
        _discard_output()
        sys.exit(1)
    except LearnerError as error:
        _fail(_advice(error))
    except OSError as error:
        _discard_output()
        _fail(f"{error.filename or 'system'}: {error.strerror or type(error).__name__}")
    except Exception as error:
        from learner_app.database.error_mapping import DRIVER_ERRORS, translate

        if not isinstance(error, DRIVER_ERRORS):
            raise
        _fail(_advice(translate(error)))


def _discard_output() -> None:
    """Keep Python from writing what is left in its buffer at the exit, and failing once more."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AttributeError, ValueError):  # there is no stream, or it is closed
        return


def _prepare_output() -> None:
    """Set up both streams for terminals, pipes and files."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.stderr is None or not sys.stderr.isatty():
        # The attempts to connect are for somebody who waits; a log has the error of the last one.
        logging.getLogger("learner_app.database.waiting").setLevel(logging.ERROR)


def _advice(error: LearnerError) -> str:
    if isinstance(error, DatabaseError) and error.sqlstate in MISSING_OBJECTS:
        return f"{error}: the database lacks a table or a column, run `learner migrate`"
    return str(error)


def _fail(message: str) -> NoReturn:
    with suppress(OSError):
        print(f"{PROGRAM}: {message}", file=sys.stderr)
    sys.exit(1)


def _require_agreement(question: str, *, yes: bool) -> None:
    """Return if the answer is yes, else end the program with exit code 1."""
    if yes:
        return
    print(f"{question} [y/N]: ", end="", flush=True)
    answer = sys.stdin.readline() if _can_answer() else ""
    if not answer:
        print()
        _fail("nobody answered, nothing was changed; --yes does not ask")
    if answer.strip().lower() not in ("y", "yes"):
        _fail("declined, nothing was changed")


def _can_answer() -> bool:
    """Return False if standard input is closed, or is a pipe on which no answer arrives."""
    if sys.stdin is None or sys.stdin.closed:
        return False
    try:
        number = sys.stdin.fileno()
    except OSError:  # a stream in memory, as of Typer's test runner
        return True
    return sys.stdin.isatty() or bool(select.select([number], [], [], ANSWER_SECONDS)[0])


@cli.command()
def up(
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = 8000,
    seed: Annotated[
        bool, typer.Option("--seed", help="With DATABASE_URL: insert the example data.")
    ] = False,
    staff: Annotated[
        bool, typer.Option("--staff", help="With DATABASE_URL: make the first staff login.")
    ] = False,
) -> None:
    """Start the product: database, migrations, example data and web pages.

    Without DATABASE_URL it runs a PostgreSQL of its own in ./learner-data, filled with example data
    and a staff login on the first start.
    """
    from learner_app.up import run_product
    from learner_app.web.server import Stopped, stop_on_signals

    stop_on_signals()
    try:
        run_product(load_settings(), host, port, seed=seed, staff=staff)
    except Stopped:
        print("Stopped.")


@cli.command()
def seed(
    events: Annotated[
        int, typer.Option(help="Also made-up listening, up to that many events.", min=0)
    ] = 0,
) -> None:
    """Insert the example data that is missing. Existing rows are not changed."""
    from learner_app.conf import DB
    from learner_app.operations.seed.bulk import insert_bulk_events
    from learner_app.operations.seed.insert import insert_seed
    from learner_app.progress import progress

    for table, planted in asyncio.run(insert_seed(DB)).items():
        print(f"{table:20} {planted.created:5} created {planted.found:5} found")
    if events:
        with progress("Events", events) as report:
            created = asyncio.run(insert_bulk_events(DB, events, report))
        print(f"{'behavioral_events':20} {created:5} created")


@cli.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Only show the SQL.")] = False,
) -> None:
    """Show the SQL of the pending migrations, then run it."""
    from learner_app.conf import DB
    from learner_app.operations.migrate import apply_migrations, plan_migrations

    with DB.as_owner():
        text = asyncio.run(plan_migrations(DB))
    print(text.strip() or "Nothing is pending.", flush=True)
    if text and not plan:
        print(f"{asyncio.run(apply_migrations(DB))} migrations applied.")


@cli.command()
def status() -> None:
    """List all migrations and since when the database has them."""
    from learner_app.conf import DB
    from learner_app.operations.migrate import migration_states

    for state in asyncio.run(migration_states(DB)):
        since = f"applied {state.applied_at:%Y-%m-%d %H:%M}" if state.applied_at else "pending"
        print(f"{since:24}  {state.app:12} {state.id}  {state.description}")


@cli.command()
def rollback(
    app: Annotated[str, typer.Argument(help="Whose last migration is undone.")],
    to: Annotated[str, typer.Option(help="Undo down to and including this one.")] = "1",
    yes: Yes = False,
) -> None:
    """Show the SQL that undoes an app's last migration, then run it."""
    from learner_app.conf import DB
    from learner_app.database.dsn import refuse_other_database
    from learner_app.database.waiting import wait_for_database
    from learner_app.operations.migrate import plan_roll_back, roll_back

    refuse_other_database(DB.settings)
    with DB.as_owner():
        asyncio.run(wait_for_database(DB))
        text = asyncio.run(plan_roll_back(app, to))
        print(text.strip() or "Nothing is applied.")
        if text:
            print(f"DatabaseUrl: {DB.target}", flush=True)
            _require_agreement("Run it?", yes=yes)
            asyncio.run(roll_back(app, to))
            print("Rolled back.")


@cli.command()
def reset(
    yes: Yes = False,
    keep_foreign_tables: Annotated[
        bool,
        typer.Option(
            "--keep-foreign-tables",
            help="Leave tables that no registered app declares in place, instead of refusing.",
        ),
    ] = False,
) -> None:
    """Drop all tables of the registered apps, migrate and seed again. Refused in production."""
    from learner_app.conf import DB
    from learner_app.operations.reset import drop_tables, plan_reset
    from learner_app.up import prepare

    with DB.as_owner():
        print(f"DatabaseUrl: {DB.target}", flush=True)
        plan = asyncio.run(plan_reset(DB, keep_foreign_tables=keep_foreign_tables))
        kept = f", keep {len(plan.foreign_tables)} others" if plan.foreign_tables else ""
        question = f"Delete everything in {len(plan.tables)} tables of {DB.target}{kept}?"
        _require_agreement(question, yes=yes)
        asyncio.run(drop_tables(DB, plan))
    prepared = asyncio.run(prepare(seed=True, seed_if_empty=False, staff=DB.target.is_development))
    print(f"{prepared.migrations} migrations applied, {prepared.seeded_rows} example rows added.")
    if prepared.staff_password:
        print(f"Staff login: admin / {prepared.staff_password}   (shown this once)")


@cli.command()
def roles(
    database: Annotated[str | None, typer.Option(help="Database, created if missing.")] = None,
    owner: Annotated[str | None, typer.Option(help="Role that migrates and dumps.")] = None,
    app: Annotated[str | None, typer.Option(help="Role of the application.")] = None,
    schema: Annotated[str | None, typer.Option(help="Schema of the tables.")] = None,
    sql: Annotated[
        bool, typer.Option("--sql", help="Only print the script, for psql and an administrator.")
    ] = False,
) -> None:
    """Create or repair the owner and the application role, keeping rows and passwords.

    Names and passwords come from DATABASE_URL and the owner's settings, where they are set. The
    administrator is DATABASE_ADMIN_URL; the command asks for it where it is not set.
    """
    from learner_app.operations import roles as work
    from learner_app.operations.role_script import psql_script

    settings = load_settings()
    chosen = work.choose_roles(
        settings, database=database, owner=owner, application=app, schema=schema
    )
    if sql:
        print(psql_script(chosen, work.product_tables()))
        return
    administrator = _administrator(settings)
    passwords = work.configured_passwords(settings)
    report = asyncio.run(work.set_up_roles(administrator, settings, chosen, passwords))
    print("\n".join(work.summary(chosen, report, administrator)))


def _administrator(settings: Settings) -> DatabaseUrl:
    name = "DATABASE_ADMIN_URL"
    if settings.database_admin_url:
        return parse_url(name, settings.database_admin_url.get_secret_value())
    if not sys.stdin.isatty():
        raise SettingsError(f"{name} is not set: the URL of a role that may create roles")
    return parse_url(name, typer.prompt(name, hide_input=True))


@cli.command()
def backup(
    file: Annotated[Path, typer.Argument(help="File to write; must not exist.")],
) -> None:
    """Dump the whole database to a file, as the owner role."""
    from learner_app.conf import DB
    from learner_app.operations.backup import back_up

    done = asyncio.run(back_up(DB, file))
    print(f"{file}: {done.tables} tables of {done.target}, {done.size} bytes.")


@cli.command()
def restore(
    file: Annotated[Path, typer.Argument(help="File that `learner backup` or pg_dump wrote.")],
    yes: Yes = False,
) -> None:
    """Replace the tables of the database by those of a backup, in one transaction."""
    from learner_app.conf import DB
    from learner_app.operations.backup import restore as load
    from learner_app.operations.backup import tables_to_replace

    if not file.exists():
        _fail(f"{file}: there is no such file")
    with DB.as_owner():
        names = asyncio.run(tables_to_replace(DB))
        print(f"DatabaseUrl: {DB.target}", flush=True)
        if names:
            _require_agreement(
                f"Replace everything in {len(names)} tables of {DB.target}?", yes=yes
            )
        pending = asyncio.run(load(DB, file, names))
    print(f"Restored. {pending} migrations are pending.")


@staff.command("password")
def staff_password(name: Name) -> None:
    """Set a new random password, show it once, and end all sessions of the person."""
    from learner_app.admin.staff import renew_password

    print(f"Password of {name}: {asyncio.run(renew_password(name))}")


@staff.command("add")
def staff_add(name: Name) -> None:
    """Add somebody who may sign in to the admin, and show the random password once."""
    from learner_app.admin.staff import add_staff

    print(f"Password of {name}: {asyncio.run(add_staff(name))}")
