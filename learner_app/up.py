"""``learner up``: from nothing to the running product."""

import asyncio
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from learner_app.admin.staff import add_staff, has_staff
from learner_app.conf import DB
from learner_app.operations.development import development_database
from learner_app.operations.migrate import apply_migrations
from learner_app.operations.seed.insert import insert_seed, is_empty
from learner_app.settings import Settings
from learner_app.web.server import go_on, open_socket, serve

FIRST_STAFF_NAME = "admin"


@dataclass(frozen=True)
class Prepared:
    """What was done to the database before serving."""

    migrations: int
    seeded_rows: int
    staff_password: str | None


def run_product(settings: Settings, host: str, port: int, *, seed: bool, staff: bool) -> None:
    """Serve until a signal comes; the web server ends first, then the database.

    With DATABASE_URL nothing is seeded and no staff login made unless the flags say so.
    """
    with ExitStack() as stack:
        listener = stack.enter_context(open_socket(host, port))
        folder: Path | None = None
        if not settings.has_database:
            folder = stack.enter_context(development_database(settings))
        is_own = folder is not None
        prepared = asyncio.run(prepare(seed=seed, seed_if_empty=is_own, staff=staff or is_own))
        if prepared.staff_password:
            # Before anything else can go wrong: it cannot be shown a second time.
            login = f"{FIRST_STAFF_NAME} / {prepared.staff_password}   (shown this once)"
            print(f"{'Staff login:':13}{login}", flush=True)
        go_on()
        serve(listener, on_ready=lambda: _announce(prepared, folder, _address(host, port)))


async def prepare(*, seed: bool, seed_if_empty: bool, staff: bool) -> Prepared:
    """Migrate; then seed, and make a first staff login where there is none, as asked for."""
    migrations = await apply_migrations(DB)
    seeded = await insert_seed(DB) if seed or (seed_if_empty and await is_empty(DB)) else {}
    password = await add_staff(FIRST_STAFF_NAME) if staff and not await has_staff() else None
    return Prepared(migrations, sum(planted.created for planted in seeded.values()), password)


def _address(host: str, port: int) -> str:
    shown = "127.0.0.1" if host in ("0.0.0.0", "") else f"[{host}]" if ":" in host else host  # noqa: S104  # compared, not bound
    return f"http://{shown}:{port}"


def _announce(prepared: Prepared, folder: Path | None, address: str) -> None:
    lines = [("Admin", f"{address}/admin/"), ("Health", f"{address}/health/db")]
    if folder and not prepared.staff_password:
        lines.insert(1, ("Staff login", "as before; `learner staff password NAME` sets a new one"))
    lines.append(("Data", str(folder) if folder else str(DB.target)))
    if prepared.migrations or prepared.seeded_rows:
        done = (
            f"{prepared.migrations} migrations applied, {prepared.seeded_rows} example rows added"
        )
        lines.append(("Database", done))
    print("\n".join(f"{name + ':':13}{value}" for name, value in lines))
    print("Stop with Ctrl-C.", flush=True)
