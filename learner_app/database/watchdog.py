"""Looking after a pool: tidying it, naming who holds on for too long, finding silent losses.

A network can lose a statement or its answer without any error. Where a statement has been under
way for half a second, the server is asked over the monitoring connection whether it is working on
it; when it is not, the connection is cut, and the caller learns of the loss long before
DB_COMMAND_TIMEOUT. All statements are cut when the monitoring connection, once established, gets no
answer for five seconds; a new connection that fails is no evidence against an established one. The
server does not notice such a loss either: it is told to end those sessions, which may hold locks.

After a failover the connections to the old primary are cut, whether it answers or not: a promotion
begins a new timeline of the write-ahead log, by which the old primary is recognised.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import Any, NamedTuple

from learner_app.database.checkout import Checkout
from learner_app.database.connection import Connection
from learner_app.database.connector import Connector
from learner_app.database.error_mapping import DRIVER_ERRORS
from learner_app.database.monitor import Monitor
from learner_app.database.pool import Pool
from learner_app.errors import LearnerError

log = logging.getLogger(__name__)

ROUND_SECONDS = 0.25
TIDY_ROUNDS = 4
LONG_SECONDS = 0.5
"""From when on a statement under way is asked about."""

UNREACHABLE_SECONDS = 5
"""A statement is given up when an established connection has got no answer for so long."""

GRACE_SECONDS = 0.3
"""How long a session may be idle between two messages of one statement, beyond the round trip."""

ROUND_TRIPS = 10
"""Round trips of connecting, authenticating and asking, by which time limits grow."""

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
        OR clock_timestamp() - state_change < make_interval(secs => $2))
"""

END_ORPHANS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user
    AND wait_event IS DISTINCT FROM 'SyncRep'  -- ended in it, a commit is done on one server only
    AND (pid, backend_start) IN (SELECT * FROM unnest($1::int[], $2::timestamptz[]))
"""


class _AtWork(NamedTuple):
    """The connection that was asked over, and the processes at work on its server."""

    connection: Connection
    pids: set[int]


class Watchdog:
    """Runs beside a pool until :meth:`stop`."""

    def __init__(self, pool: Pool, connector: Connector, monitor: Monitor) -> None:
        self._pool = pool
        self._connector = connector
        self._monitor = monitor
        self._warned: set[Checkout] = set()
        self._looks: dict[Any, asyncio.Task[None]] = {}
        self._next_look: dict[Connection, float] = {}
        self._unsent: dict[Connection, int] = {}
        self._alarmed_until = 0.0
        self._endings: set[asyncio.Task[None]] = set()
        self._task = pool.loop.create_task(self._run())

    def stop(self) -> None:
        for task in (self._task, *self._endings, *self._looks.values()):
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
                self._monitor.tick()
                if not self._connector.settings.db_pgbouncer:
                    self._leave_old_primaries()
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

    def _leave_old_primaries(self) -> None:
        """Cut the connections to servers of an older timeline than the newest one."""
        everything = self._pool.open_connections()
        if self._monitor.connection is not None:
            everything.append(self._monitor.connection)
        newest = max((one.timeline or 0 for one in everything), default=0)
        self._connector.newest_timeline = newest
        if len(self._connector.target.hosts) > 1 and not self._connector.wants_primary:
            return
        old = [one for one in everything if one.timeline and one.timeline < newest]
        for one in old:
            self._pool.cut(one)
        if old:
            log.warning("the primary was replaced: %d connections to the old one cut", len(old))

    def _look_for_losses(self) -> None:
        now, held, monitor = self._pool.loop.time(), self._pool.held, self._monitor
        self._next_look = {one: at for one, at in self._next_look.items() if one in held}
        self._unsent = {one: size for one, size in self._unsent.items() if one.sent_at}
        if monitor.silent_since:
            self._alarmed_until = now + ALARM_SECONDS
            for one in self._pool.open_connections():
                monitor.heard(one.address, one.answered_at)
        for address in [one for one, look in self._looks.items() if look.done()]:
            del self._looks[address]
        for address, suspects in self._long_under_way(now).items():
            self._cut_if_silent(address, suspects)
            is_alarmed = now < self._alarmed_until
            due = [one for one in suspects if is_alarmed or now > self._next_look.get(one, 0)]
            if due and address not in self._looks and len(self._looks) < MOST_LOOKS:
                task = self._pool.loop.create_task(self._look(address, due))
                self._looks[address] = task

    def _long_under_way(self, now: float) -> dict[Any, list[Connection]]:
        """Connections whose statement has been under way for long, by address."""
        found: dict[Any, list[Connection]] = {}
        seconds = LONG_SECONDS + self._monitor.round_trip
        for one in self._pool.held:
            is_local = isinstance(one.address, str)  # the end of a local peer is noticed
            if not one.sent_at or now - one.sent_at < seconds or one.is_closed() or is_local:
                continue
            if not self._is_being_sent(one):
                found.setdefault(one.address, []).append(one)
        return found

    def _is_being_sent(self, connection: Connection) -> bool:
        """Whether a large statement makes progress; the server begins once it has all of it."""
        before = self._unsent.get(connection)
        now = self._unsent[connection] = connection.unsent()
        return now > 0 and (before is None or now < before)

    def _cut_if_silent(self, address: Any, suspects: list[Connection]) -> None:
        monitor, now = self._monitor, self._pool.loop.time()
        silent_since = monitor.silent_since.get(address)
        if silent_since is None:
            return
        has_moved = monitor.connection is not None and monitor.connection.address != address
        is_replaced = has_moved and self._connector.wants_primary
        seconds = 0 if is_replaced else UNREACHABLE_SECONDS
        for one in suspects:
            if now - max(silent_since, one.sent_at) > seconds:
                self._cut(one, one.sent_at, "the server is silent on another connection as well")

    async def _look(self, address: Any, suspects: list[Connection]) -> None:
        sent = {one: one.sent_at for one in suspects}
        try:
            answer = await self._ask(address, suspects)
        except (LearnerError, *DRIVER_ERRORS):
            return
        now = self._pool.loop.time()
        server = answer.connection.server
        for one, sent_at in sent.items():
            if one.is_closed():
                continue
            if one.server == server and one.get_server_pid() in answer.pids:
                self._next_look[one] = now + (now - sent_at)
            elif one.server[0] == server[0]:  # not one of several servers behind one address
                self._cut(one, sent_at, "the server is not working on it")

    async def _ask(self, address: Any, suspects: list[Connection]) -> _AtWork:
        """Ask the server on the established connection; on a new one where there is none."""
        pids = [one.get_server_pid() for one in suspects if not one.is_closed()]
        grace = GRACE_SECONDS + 2 * self._monitor.round_trip
        witness = self._monitor.connection
        if witness is not None and witness.address == address:
            answer = await self._monitor.ask(AT_WORK, pids, grace, address=address)
            return _AtWork(answer.connection, {row[0] for row in answer.rows})
        seconds = LOOK_SECONDS + ROUND_TRIPS * self._monitor.round_trip
        async with asyncio.timeout(seconds):
            connection = await self._connector.connect_to(address, seconds)
            try:
                rows = await connection.fetch(AT_WORK, pids, grace)
            finally:
                connection.terminate()
        return _AtWork(connection, {row[0] for row in rows})

    def _cut(self, connection: Connection, sent_at: float, reason: str) -> None:
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
            seconds = LOOK_SECONDS + ROUND_TRIPS * self._monitor.round_trip
            try:
                async with asyncio.timeout(seconds):
                    ended = await self._end_sessions(address, here)
            except (LearnerError, *DRIVER_ERRORS):
                return
            if ended:
                log.warning("%d sessions of broken connections ended on the server", ended)
        for one in here:
            self._pool.orphans.pop(one, None)

    async def _end_sessions(self, address: tuple[str, int], orphans: list[Connection]) -> int:
        seconds = LOOK_SECONDS + ROUND_TRIPS * self._monitor.round_trip
        connection = await self._connector.connect_to(address, seconds)
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
