"""The ``learner`` command.

The help, which a user waits for, needs only Typer. Each command imports the rest itself.
"""

from __future__ import annotations

import io
import os
import select
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from learner_app.database.dsn import DatabaseUrl
    from learner_app.database.engine import DatabaseEngine
    from learner_app.errors import LearnerError
    from learner_app.settings import Settings

T = TypeVar("T")

PROGRAM = "learner"
ANSWER_SECONDS = 1.0
"""Time limit for an answer from a pipe or a file."""

MISSING_OBJECTS = ("42P01", "42703")
"""SQLSTATEs of a missing table and of a missing column."""

cli = typer.Typer(
    help="The data foundation of adaptive-learning applications.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # Rich takes longer to import than all of the rest of the help
    pretty_exceptions_enable=False,
)
staff = typer.Typer(
    help="Manage the staff accounts of the admin.", no_args_is_help=True, rich_markup_mode=None
)
cli.add_typer(staff, name="staff")

Name = Annotated[str, typer.Argument(help="Name of the staff account.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")]


def main() -> None:
    """Run the command.

    An error is printed as one line on standard error, and the exit code is 1.
    """
    with _one_line_errors():
        sys.path.insert(0, str(Path.cwd()))
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
    except BrokenPipeError:  # the reader, such as `head`, has closed the pipe
        _discard_output()
        sys.exit(1)
    except OSError as error:
        _discard_output()
        _fail(f"{error.filename or 'system'}: {error.strerror or type(error).__name__}")
    except Exception as error:
        from learner_app.database.error_mapping import DRIVER_ERRORS, translate
        from learner_app.errors import LearnerError

        if isinstance(error, LearnerError):
            _fail(_advice(error))
        if isinstance(error, DRIVER_ERRORS):
            _fail(_advice(translate(error)))
        raise


def _discard_output() -> None:
    """Redirect unwritten output to the null device, so that Python's flush at exit succeeds."""
    try:
        sys.stdout.flush()
    except OSError:
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (AttributeError, ValueError):  # the stream is missing or closed
        return


def _prepare_output() -> None:
    """Configure standard output and standard error for terminals, pipes and files."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _advice(error: LearnerError) -> str:
    """Return the message of the error, with the command that creates missing tables."""
    from learner_app.errors import DatabaseError

    if isinstance(error, DatabaseError) and error.sqlstate in MISSING_OBJECTS:
        return f"{error}: a table or column is missing, run `learner migrate`"
    return str(error)


def _run(operation: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine, as ``asyncio.run`` does."""
    import asyncio

    _limit_log()
    return asyncio.run(operation)


def _limit_log() -> None:
    """Log no failed attempt to connect, unless standard error is a terminal.

    The error of the last attempt is printed in any case.
    """
    if sys.stderr is None or not sys.stderr.isatty():
        import logging

        logging.getLogger("learner_app.database.retry").setLevel(logging.ERROR)


def _fail(message: str) -> NoReturn:
    with suppress(OSError):
        print(f"{PROGRAM}: {message}", file=sys.stderr)
    sys.exit(1)


def _engine() -> DatabaseEngine:
    """Return the configured engine, prepared for a command.

    A command sends few statements and opens a connection for each of them, without a pool.
    """
    from learner_app.conf import DB
    from learner_app.schema.piccolo_hooks import require_app_registry
    from learner_app.settings import require_piccolo_conf

    require_piccolo_conf()
    require_app_registry()
    DB.needs_pool = False
    return DB


def _require_confirmation(question: str, *, yes: bool) -> None:
    """Return if the answer is yes, otherwise end the program with exit code 1."""
    if yes:
        return
    print(f"{question} [y/N]: ", end="", flush=True)
    answer = sys.stdin.readline() if _can_answer() else ""
    if not answer:
        print()
        _fail("no answer, nothing was changed: answer in a terminal, or pass --yes")
    if answer.strip().lower() not in ("y", "yes"):
        _fail("declined, nothing was changed")


def _can_answer() -> bool:
    """Return False if standard input is closed, or is a pipe without an answer in time."""
    if sys.stdin is None or sys.stdin.closed:
        return False
    try:
        descriptor = sys.stdin.fileno()
    except OSError:  # a stream in memory, such as the one of Typer's test runner
        return True
    return sys.stdin.isatty() or bool(select.select([descriptor], [], [], ANSWER_SECONDS)[0])


@cli.command()
def up(
    host: Annotated[str, typer.Option(help="Address to serve on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve on.", min=1, max=65535)] = 8000,
    seed: Annotated[
        bool,
        typer.Option(
            "--seed", help="Insert the example data, also into the database of DATABASE_URL."
        ),
    ] = False,
    staff: Annotated[
        bool,
        typer.Option(
            "--staff", help="Create the first staff account, also in the database of DATABASE_URL."
        ),
    ] = False,
) -> None:
    """Apply the pending migrations and start the web application.

    If neither DATABASE_URL nor DB_HOST is set, it also runs a PostgreSQL server with its data in
    ./learner-data. The first start inserts the example data and creates a staff account.
    """
    from learner_app.settings import load_settings
    from learner_app.up import run_product
    from learner_app.web.server import Stopped, stop_on_signals

    _limit_log()
    stop_on_signals()
    try:
        run_product(_engine(), load_settings(), host, port, seed=seed, staff=staff)
    except Stopped:
        print("Stopped.")


@cli.command()
def seed(
    events: Annotated[
        int,
        typer.Option(
            help="Also generate listening events, up to this number of generated events.", min=0
        ),
    ] = 0,
) -> None:
    """Insert the missing rows of the example data. Existing rows are not changed."""
    from learner_app.operations.seed.bulk import insert_bulk_events
    from learner_app.operations.seed.insert import insert_seed
    from learner_app.progress import progress

    engine = _engine()
    for table, counts in _run(insert_seed(engine)).items():
        print(f"{table:20} {counts.created:5} created {counts.found:5} found")
    if events:
        with progress("Events", events) as report:
            created = _run(insert_bulk_events(engine, events, report))
        print(f"{'behavioral_events':20} {created:5} created")


@cli.command()
def migrate(
    plan: Annotated[bool, typer.Option("--plan", help="Print the SQL without running it.")] = False,
) -> None:
    """Print the SQL of the pending migrations and apply them.

    The command does not ask for confirmation.
    """
    from learner_app.operations.migrate import apply_migrations, plan_migrations

    engine = _engine()
    with engine.as_owner():
        text = _run(plan_migrations(engine))
    print(text.strip() or "Nothing is pending.", flush=True)
    if text and not plan:
        print(f"{_count(_run(apply_migrations(engine)), 'migration')} applied.")


@cli.command()
def status() -> None:
    """List all migrations with the time when each was applied."""
    from learner_app.operations.migrate import migration_states

    for state in _run(migration_states(_engine())):
        applied = f"applied {state.applied_at:%Y-%m-%d %H:%M}" if state.applied_at else "pending"
        print(f"{applied:24}  {state.app:12} {state.id}  {state.description}")


@cli.command()
def rollback(
    app: Annotated[str, typer.Argument(help="Name of the Piccolo app, such as content.")],
    to: Annotated[
        str,
        typer.Option(
            help="Id of the earliest migration to reverse, 1 for the last one, all for all of them."
        ),
    ] = "1",
    yes: Yes = False,
) -> None:
    """Reverse the last migration of an app.

    Its SQL is printed before the command asks for confirmation.
    """
    from learner_app.database.dsn import require_unambiguous_database
    from learner_app.operations.migrate import plan_roll_back, roll_back

    engine = _engine()
    require_unambiguous_database(engine.settings)
    with engine.as_owner():
        _run(engine.wait_until_ready())
        text = _run(plan_roll_back(engine, app, to))
        print(text.strip() or "Nothing is applied.")
        if text:
            print(f"Database: {engine.target}", flush=True)
            _require_confirmation("Run this SQL?", yes=yes)
            _run(roll_back(engine, app, to))
            print("Rolled back.")


@cli.command()
def reset(
    yes: Yes = False,
    keep_other_tables: Annotated[
        bool,
        typer.Option(
            "--keep-other-tables",
            help="Keep tables that no registered app declares, instead of refusing to reset.",
        ),
    ] = False,
) -> None:
    """Drop all tables of the registered apps, then migrate and seed. Refused in production."""
    from learner_app.operations.reset import drop_tables, plan_reset
    from learner_app.up import prepare

    engine = _engine()
    with engine.as_owner():
        print(f"Database: {engine.target}", flush=True)
        plan = _run(plan_reset(engine, keep_other_tables=keep_other_tables))
        dropped, others = _count(len(plan.tables), "table"), len(plan.other_tables)
        kept = f", keep {_count(others, 'other table')}" if others else ""
        question = f"Drop {dropped} of {engine.target} with all rows{kept}?"
        _require_confirmation(question, yes=yes)
        _run(drop_tables(engine, plan))
    is_development = engine.target.is_development
    prepared = _run(prepare(engine, seed=True, seed_if_empty=False, staff=is_development))
    print(f"{prepared.summary}.")
    if prepared.staff_password:
        print(f"Staff login: {prepared.login}")


@cli.command()
def roles(
    database: Annotated[
        str | None, typer.Option(help="Name of the database, created if missing.")
    ] = None,
    owner: Annotated[
        str | None, typer.Option(help="Name of the owner role, for migrations and backups.")
    ] = None,
    app: Annotated[str | None, typer.Option(help="Name of the application role.")] = None,
    schema: Annotated[str | None, typer.Option(help="Name of the schema of the tables.")] = None,
    sql: Annotated[
        bool, typer.Option("--sql", help="Print a script for psql instead of running it.")
    ] = False,
) -> None:
    """Create or repair the owner role and the application role.

    Rows and passwords of existing roles are not changed.

    The names and passwords in the settings are the defaults. The command connects as the
    administrator of DATABASE_ADMIN_URL, and asks for this URL if it is not set.
    """
    from learner_app.operations import roles as operation
    from learner_app.operations.role_script import psql_script
    from learner_app.settings import load_settings, require_piccolo_conf

    require_piccolo_conf()
    settings = load_settings()
    chosen = operation.choose_roles(
        settings, database=database, owner=owner, application=app, schema=schema
    )
    if sql:
        print(psql_script(chosen, operation.product_tables()))
        return
    administrator = _administrator(settings)
    passwords = operation.configured_passwords(settings)
    report = _run(operation.set_up_roles(administrator, settings, chosen, passwords))
    print("\n".join(operation.summary(chosen, report, administrator)))


def _administrator(settings: Settings) -> DatabaseUrl:
    from learner_app.database.dsn import parse_url
    from learner_app.errors import SettingsError

    name = "DATABASE_ADMIN_URL"
    if settings.database_admin_url:
        return parse_url(name, settings.database_admin_url.get_secret_value())
    if not sys.stdin.isatty():
        raise SettingsError(f"{name} is not set: set the URL of a role that may create roles")
    return parse_url(name, typer.prompt(name, hide_input=True))


@cli.command()
def backup(
    file: Annotated[Path, typer.Argument(help="File to write. It must not exist.")],
) -> None:
    """Dump the whole database to a file, as the owner role."""
    from learner_app.operations.backup import back_up

    done = _run(back_up(_engine(), file))
    print(f"{file}: {_count(done.tables, 'table')} of {done.target}, {done.size} bytes.")


@cli.command()
def restore(
    file: Annotated[
        Path, typer.Argument(help="Backup file, written by learner backup or by pg_dump.")
    ],
    yes: Yes = False,
) -> None:
    """Replace the tables of the database by those of a backup.

    One transaction drops the tables and restores the others.
    """
    from learner_app.operations.backup import require_archive, tables_to_replace
    from learner_app.operations.backup import restore as load

    require_archive(file)
    engine = _engine()
    with engine.as_owner():
        names = _run(tables_to_replace(engine))
        print(f"Database: {engine.target}", flush=True)
        if names:
            question = f"Replace {_count(len(names), 'table')} of {engine.target} with all rows?"
            _require_confirmation(question, yes=yes)
        pending = _run(load(engine, file, names))
    hint = ": run `learner migrate`" if pending else ""
    print(f"Restored. Pending migrations: {pending}{hint}.")


@staff.command("password")
def staff_password(name: Name) -> None:
    """Set a new random password and print it once.

    All login sessions of the account are deleted.
    """
    from learner_app.admin.staff import renew_password

    print(f"Password of {name}: {_run(renew_password(name, _engine()))}")


@staff.command("add")
def staff_add(name: Name) -> None:
    """Create a staff account and print its random password once."""
    from learner_app.admin.staff import add_staff

    print(f"Password of {name}: {_run(add_staff(name, _engine()))}")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
