"""Looking after a pool: tidying it, naming who holds on for too long, finding silent losses.

A network can swallow a statement or its answer without a word. Where a statement has been under
way for a second, the server is asked over another connection whether it is working on it; when it
is not, the connection is cut, and the caller learns of the loss long before DB_COMMAND_TIMEOUT.
The server learns nothing of it either: it is told to end such sessions, which may hold locks.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import Any

import asyncpg

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

ALARM_SECONDS = 10
"""For so long after a loss all statements under way are asked about in every round."""

ORPHAN_SECONDS = 0.2
"""How long a server has for seeing by itself that a connection is broken."""

ORPHAN_ROUNDS = 2
FORGET_SECONDS = 60
LOOK_SECONDS = 2
MOST_LOOKS = 4

AT_WORK = """
    SELECT pid FROM pg_stat_activity
    WHERE pid = ANY($1) AND (
        state IS NULL OR state NOT LIKE 'idle%'
        OR clock_timestamp() - state_change < interval '0.3 s')
"""

END_ORPHANS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user
    AND wait_event IS DISTINCT FROM 'SyncRep'  -- ended in it, a commit is done on one server only
    AND (pid, backend_start) IN (SELECT * FROM unnest($1::int[], $2::timestamptz[]))
"""


class Watch:
    """Runs beside a pool until :meth:`stop`."""

    def __init__(self, pool: Pool, connector: Connector) -> None:
        self._pool = pool
        self._connector = connector
        self._warned: set[Hold] = set()
        self._looks: set[asyncio.Task[None]] = set()
        self._next_look: dict[Connection, float] = {}
        self._unreachable_since: dict[Any, float] = {}
        self._alarmed_until = 0.0
        self._endings: set[asyncio.Task[None]] = set()
        self._task = pool.loop.create_task(self._run())

    def stop(self) -> None:
        for task in (self._task, *self._endings, *self._looks):
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
                if number % ORPHAN_ROUNDS == 0:
                    self._look_for_orphans()
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
            and not connection.is_closed()
            and not isinstance(connection.address, str)  # the end of a local peer is noticed
            and now > max(connection.sent_at + LONG_SECONDS, self._next_look.get(connection, 0))
        }
        if not suspects:
            self._unreachable_since.clear()
        elif not self._connector.settings.db_pgbouncer and len(self._looks) < MOST_LOOKS:
            task = self._pool.loop.create_task(self._look(suspects))
            self._looks.add(task)
            task.add_done_callback(self._looks.discard)

    async def _look(self, suspects: dict[Connection, float]) -> None:
        now = self._pool.loop.time()
        address, here = _of_one_server(suspects)
        pids = {one: one.get_server_pid() for one in here}  # a closed one does not tell it
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                working = await self._ask(address, list(pids.values()))
        except asyncpg.PostgresError:  # it is there, perhaps without room for one more
            self._unreachable_since.pop(address, None)
            return
        except (LearnerError, *DRIVER_ERRORS):
            since = self._unreachable_since.setdefault(address, now)
            self._alarmed_until = self._pool.loop.time() + ALARM_SECONDS
            if self._pool.loop.time() - since > UNREACHABLE_SECONDS:
                self._cut({one: suspects[one] for one in here}, "the server cannot be reached")
            return
        self._unreachable_since.pop(address, None)
        lost = [one for one in here if pids[one] not in working]
        for connection in here:
            if connection not in lost:
                now = self._pool.loop.time()
                pause = 0 if now < self._alarmed_until else now - suspects[connection]
                self._next_look[connection] = now + pause
        self._cut({one: suspects[one] for one in lost}, "the server is not working on it")

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
                self._alarmed_until = self._pool.loop.time() + ALARM_SECONDS

    def _look_for_orphans(self) -> None:
        now = self._pool.loop.time()
        orphans = self._pool.orphans
        for one, since in list(orphans.items()):
            if now - since > FORGET_SECONDS:
                del orphans[one]
        due = [one for one, since in orphans.items() if now - since > ORPHAN_SECONDS]
        if due and len(self._endings) < MOST_LOOKS:  # one that stays silent holds up no other
            task = self._pool.loop.create_task(self._end(due))
            self._endings.add(task)
            task.add_done_callback(self._endings.discard)

    async def _end(self, orphans: list[Connection]) -> None:
        """End what is left of them on the server; tried again where it cannot be reached."""
        address, here = _of_one_server(orphans)
        if not isinstance(address, str):
            try:
                async with asyncio.timeout(LOOK_SECONDS):
                    ended = await self._end_sessions(address, here)
            except (LearnerError, *DRIVER_ERRORS):
                return
            if ended:
                log.warning("%d sessions of broken connections ended on the server", ended)
        for one in here:
            self._pool.orphans.pop(one, None)

    async def _end_sessions(self, address: tuple[str, int], orphans: list[Connection]) -> int:
        connection = await self._connector.connect_to(address, LOOK_SECONDS)
        try:
            pids, starts = zip(*(one.session for one in orphans), strict=True)
            return len(await connection.fetch(END_ORPHANS, pids, starts))
        finally:
            connection.terminate()


def _of_one_server(connections: Iterable[Connection]) -> tuple[Any, list[Connection]]:
    """Those to one address, taken at random, so that a silent server holds up no other."""
    found = list(connections)
    address = random.choice(found).address  # noqa: S311  # no secret
    return address, [one for one in found if one.address == address]
