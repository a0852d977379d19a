"""Entry point for scripts that use the database."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from learner_app.conf import DB
from learner_app.database.engine import DatabaseEngine
from learner_app.errors import SettingsError

T = TypeVar("T")


def run_script(main: Callable[[], Coroutine[Any, Any, T]], engine: DatabaseEngine = DB) -> T:
    """Run a coroutine function as ``asyncio.run`` does, with the connection pool open.

    A missing or invalid setting ends the script with one line on standard error and exit code 1,
    instead of a traceback. Other errors are raised.
    """

    async def run() -> T:
        async with engine.running():
            return await main()

    try:
        return asyncio.run(run())
    except SettingsError as error:
        raise SystemExit(str(error)) from None
