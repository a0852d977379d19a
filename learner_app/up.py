"""``learner up``: database, migrations and web application in one process."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from learner_app.admin.staff import add_staff, has_staff
from learner_app.database.engine import DatabaseEngine
from learner_app.operations.development import development_database
from learner_app.operations.migrate import apply_migrations
from learner_app.operations.seed.state import is_empty
from learner_app.settings import Settings
from learner_app.web.app import create_app
from learner_app.web.server import open_socket, raise_if_stopped, serve

FIRST_STAFF_NAME = "admin"


@dataclass(frozen=True)
class Prepared:
    """Changes that were made to the database before serving."""

    migrations: int
    seeded_rows: int
    staff_password: str | None

    @property
    def summary(self) -> str:
        """Number of migrations and of rows, as a line for the console."""
        return f"{self.migrations} migrations applied, {self.seeded_rows} example rows added"

    @property
    def login(self) -> str:
        """Name and password of the new staff account, as a line for the console."""
        return f"{FIRST_STAFF_NAME} / {self.staff_password}   (shown only once)"


def run_product(
    engine: DatabaseEngine, settings: Settings, host: str, port: int, *, seed: bool, staff: bool
) -> None:
    """Serve until a signal arrives, then stop the web server and the database, in this order.

    Args:
        engine: the configured engine, prepared for statements without a pool.
        settings: settings of the database. If they name none, the development database is started.
        host: address to bind.
        port: port to bind.
        seed: insert the example data, which an empty development database gets in any case.
        staff: create the first staff account, which the development database gets in any case.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(open_socket(host, port))
        folder: Path | None = None
        if not settings.has_database:
            folder = stack.enter_context(development_database(settings))
        is_development = folder is not None
        prepared = asyncio.run(
            prepare(engine, seed=seed, seed_if_empty=is_development, staff=staff or is_development)
        )
        if prepared.staff_password:
            # Printed before anything else can fail, because it cannot be shown a second time.
            print(f"{'Staff login:':13}{prepared.login}", flush=True)
        raise_if_stopped()
        engine.needs_pool = True
        lines = _announcement(engine, prepared, folder, _address(host, port))
        serve(create_app(engine), listener, on_ready=lambda: print(lines, flush=True))


async def prepare(
    engine: DatabaseEngine, *, seed: bool, seed_if_empty: bool, staff: bool
) -> Prepared:
    """Apply the migrations, insert the example data, and create the first staff account.

    Args:
        engine: engine of the database.
        seed: insert the example data.
        seed_if_empty: insert the example data if the tables are empty.
        staff: create the staff account ``admin`` if no staff account exists.
    """
    migrations = await apply_migrations(engine)
    rows = 0
    if seed or (seed_if_empty and await is_empty(engine)):
        from learner_app.operations.seed.insert import insert_seed  # imports all domains

        rows = sum(counts.created for counts in (await insert_seed(engine)).values())
    password = None
    if staff and not await has_staff(engine):
        password = await add_staff(FIRST_STAFF_NAME, engine)
    return Prepared(migrations, rows, password)


def _address(host: str, port: int) -> str:
    """Return the URL at which a browser on this machine reaches the server."""
    local = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not bound
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"


def _announcement(
    engine: DatabaseEngine, prepared: Prepared, folder: Path | None, address: str
) -> str:
    lines = [("Admin", f"{address}/admin/"), ("Health", f"{address}/health/db")]
    if folder and not prepared.staff_password:
        lines.insert(1, ("Staff login", "as before; `learner staff password NAME` sets a new one"))
    lines.append(("Data", str(folder) if folder else str(engine.target)))
    if prepared.migrations or prepared.seeded_rows:
        lines.append(("Database", prepared.summary))
    shown = [f"{name + ':':13}{value}" for name, value in lines]
    return "\n".join([*shown, "Stop with Ctrl-C."])
