"""The ``learner`` command."""

import asyncio
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from learner_app.errors import LearnerError
from learner_app.settings import load_settings

cli = typer.Typer(
    help="The data foundation of adaptive-learning applications.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
staff = typer.Typer(help="Who may sign in to the admin.", no_args_is_help=True)
cli.add_typer(staff, name="staff")

Name = Annotated[str, typer.Argument(help="Name the person signs in with.")]


def main() -> None:
    """Run the command; what goes wrong is one line on stderr and exit code 1."""
    sys.path.insert(0, str(Path.cwd()))
    if find_spec("piccolo_conf") is None:
        os.environ.setdefault("PICCOLO_CONF", "learner_app.conf")
    try:
        cli()
    except LearnerError as error:
        _fail(str(error))
    except OSError as error:
        _fail(f"{error.filename or 'system'}: {error.strerror or type(error).__name__}")


def _fail(message: str) -> None:
    print(f"learner: {message}", file=sys.stderr)
    sys.exit(1)


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


@staff.command("password")
def staff_password(name: Name) -> None:
    """Set a new random password and show it once; signs the person out everywhere."""
    from learner_app.admin.staff import renew_password

    print(f"Password of {name}: {asyncio.run(renew_password(name))}")


@staff.command("add")
def staff_add(name: Name) -> None:
    """Add somebody who may sign in to the admin; the random password is shown once."""
    from learner_app.admin.staff import add_staff

    print(f"Password of {name}: {asyncio.run(add_staff(name))}")


if __name__ == "__main__":
    main()
