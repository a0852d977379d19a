"""Looking after a pool: tidying it, naming who holds on for too long, finding silent losses.

A network can swallow a statement or its answer without a word. Where a statement has been under
way for a second, the server is asked over another connection whether it is working on it; when it
is not, the connection is cut, and the caller learns of the loss long before DB_COMMAND_TIMEOUT.
"""

from __future__ import annotations

import asyncio
import logging

from learner_app.database.connecting import Connector
from learner_app.database.connection import Connection
from learner_app.database.failures import DRIVER_ERRORS
from learner_app.database.hold import Hold
from learner_app.database.pool import Pool
from learner_app.errors import LearnerError

log = logging.getLogger(__name__)

ROUND_SECONDS = 0.25
TIDY_ROUNDS = 4
LONG_SECONDS = 1
"""From when on a statement under way is asked about."""

UNREACHABLE_SECONDS = 5
"""A statement is given up when the server could not be reached for so long meanwhile."""

LOOK_SECONDS = 2
MOST_LOOKS = 4

AT_WORK = """
    SELECT pid FROM pg_stat_activity
    WHERE pid = ANY($1) AND (
        state IS NULL OR state NOT LIKE 'idle%'
        OR clock_timestamp() - state_change < interval '0.3 s')
"""


class Watch:
    """Runs beside a pool until :meth:`stop`."""

    def __init__(self, pool: Pool, connector: Connector) -> None:
        self._pool = pool
        self._connector = connector
        self._warned: set[Hold] = set()
        self._looks: set[asyncio.Task[None]] = set()
        self._next_look: dict[Connection, float] = {}
        self._unreachable_since = 0.0
        self._task = pool.loop.create_task(self._run())

    def stop(self) -> None:
        for task in (self._task, *self._looks):
            task.cancel()

    async def _run(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            number += 1
            try:
                if number % TIDY_ROUNDS == 0:
                    self._pool.tidy()
                    self._warn_of_holders()
                self._look_for_losses()
            except Exception:
                log.exception("the watch over the pool failed, and goes on")

    def _warn_of_holders(self) -> None:
        now = self._pool.loop.time()
        longest = self._connector.settings.db_hold_warning
        late = {hold for hold in self._pool.held.values() if now - hold.since > longest}
        for hold in late - self._warned:
            log.warning("a connection has been held for %.0f s by %s", now - hold.since, hold)
        self._warned = late

    def _look_for_losses(self) -> None:
        now = self._pool.loop.time()
        held = self._pool.held
        self._next_look = {one: at for one, at in self._next_look.items() if one in held}
        suspects = {
            connection: connection.sent_at
            for connection in held
            if connection.sent_at
            and now > max(connection.sent_at + LONG_SECONDS, self._next_look.get(connection, 0))
        }
        if not suspects:
            self._unreachable_since = 0.0
        elif not self._connector.settings.db_pgbouncer and len(self._looks) < MOST_LOOKS:
            task = self._pool.loop.create_task(self._look(suspects))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    async def _look(self, suspects: dict[Connection, float]) -> None:
        now = self._pool.loop.time()
        address = next(iter(suspects)).address
        if isinstance(address, str):
            return  # the end of a peer on this machine does not go unnoticed
        here = {one: sent for one, sent in suspects.items() if one.address == address}
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                working = await self._ask(address, [one.get_server_pid() for one in here])
        except (LearnerError, *DRIVER_ERRORS):
            self._unreachable_since = self._unreachable_since or now
            if self._pool.loop.time() - self._unreachable_since > UNREACHABLE_SECONDS:
                self._cut(here, "the server cannot be reached")
            return
        self._unreachable_since = 0.0
        for connection, sent_at in here.items():
            if connection.get_server_pid() in working:
                elapsed = self._pool.loop.time() - sent_at
                self._next_look[connection] = sent_at + 2 * elapsed
        self._cut(
            {one: sent for one, sent in here.items() if one.get_server_pid() not in working},
            "the server is not working on it",
        )

    async def _ask(self, address: tuple[str, int], pids: list[int]) -> set[int]:
        connection = await self._connector.connect_to(address, LOOK_SECONDS)
        try:
            return {row[0] for row in await connection.fetch(AT_WORK, pids)}
        finally:
            connection.terminate()

    def _cut(self, connections: dict[Connection, float], reason: str) -> None:
        for connection, sent_at in connections.items():
            if connection.sent_at == sent_at and not connection.is_closed():
                elapsed = self._pool.loop.time() - sent_at
                log.warning("a statement got no answer for %.1f s, cut: %s", elapsed, reason)
                connection.terminate()
