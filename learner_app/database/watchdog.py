"""Watchdog of a pool: prunes it, reports long checkouts, detects statements lost by the network.

Why it exists: a network can lose a statement or its answer without an error on either side, for
example when a firewall drops the state of a connection. The client then waits until
DB_COMMAND_TIMEOUT, and the server keeps the session with its locks. TCP keepalive does not help
where a proxy acknowledges the packets.

How a loss is detected: when a statement has been running for half a second, the watchdog asks the
server over the monitoring connection which of its processes are active. If the statement's process
is idle, the statement or its answer was lost, and the connection is closed. If the established
monitoring connection gets no answer either, the server is unreachable, and the connections of all
statements sent to it are closed after five seconds. A *new* connection that fails is no evidence: a
busy postmaster accepts none while its sessions continue to work.

The server does not notice such a loss either. Therefore the watchdog terminates the sessions of
broken connections on the server, since they may hold locks.

After a failover the connections to the old primary are closed, whether it answers or not. It is
recognised by its timeline: a promotion begins a new timeline of the write-ahead log.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable
from typing import Any

from learner_app.database.connection import Connection
from learner_app.database.connector import Connector
from learner_app.database.error_mapping import DRIVER_ERRORS
from learner_app.database.monitor import Answer, Monitor
from learner_app.database.pool import Pool
from learner_app.errors import LearnerError

log = logging.getLogger(__name__)

ROUND_SECONDS = 0.25
"""Time between two rounds."""
PRUNE_ROUNDS = 4
"""Number of rounds after which the pool is pruned."""
ORPHAN_ROUNDS = 2
"""Number of rounds after which the sessions of broken connections are terminated."""

SUSPECT_SECONDS = 0.5
"""Running time of a statement after which the server is asked about it."""

UNREACHABLE_SECONDS = 5
"""Time without an answer to the monitoring connection after which a server is unreachable."""

IDLE_GRACE_SECONDS = 0.3
"""Time that a session may be idle between two messages of one statement, plus round trips."""

CHECK_SECONDS = 2
ROUND_TRIPS = 10
"""Time limit for a query on a new connection: the sum of these seconds and round trips."""

ALARM_SECONDS = 10
"""Time after a loss during which all long-running statements are checked in each round."""

ORPHAN_SECONDS = 0.2
"""Time for the server to notice by itself that a connection is broken."""

ORPHAN_FORGET_SECONDS = 60
"""Time after which the session of a broken connection is no longer terminated."""

MAX_CONCURRENT_CHECKS = 4
"""Limit of the addresses that are asked concurrently."""

ACTIVE_BACKENDS = """
    SELECT pid FROM pg_stat_activity
    WHERE pid = ANY($1) AND (
        state IS NULL OR state NOT LIKE 'idle%'
        OR clock_timestamp() - state_change < make_interval(secs => $2))
"""

TERMINATE_ORPHANS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user
    -- a session that waits for a synchronous standby has committed: without the wait the commit
    -- would be visible although the standby may not have it
    AND wait_event IS DISTINCT FROM 'SyncRep'
    AND (pid, backend_start) IN (SELECT * FROM unnest($1::int[], $2::timestamptz[]))
"""


class Watchdog:
    """Periodic task beside a pool, from construction until :meth:`stop`."""

    def __init__(self, pool: Pool, connector: Connector, monitor: Monitor) -> None:
        self._pool = pool
        self._connector = connector
        self._monitor = monitor
        self._reported: set[tuple[Connection, float]] = set()
        """Long checkouts that the log already contains, with the time of the checkout."""
        self._checks: dict[Any, asyncio.Task[None]] = {}
        """Running or completed checks, by the address of the server."""
        self._next_check: dict[Connection, float] = {}
        """Loop time before which a statement is not checked again."""
        self._unacknowledged: dict[Connection, int] = {}
        """Unacknowledged bytes of long-running statements in the previous round."""
        self._alarm_until = 0.0
        self._orphan_tasks: set[asyncio.Task[None]] = set()
        self._task = pool.loop.create_task(self._run())

    def stop(self) -> None:
        """Cancel the task and the checks that it has started."""
        for task in (self._task, *self._orphan_tasks, *self._checks.values()):
            task.cancel()

    async def _run(self) -> None:
        number = 0
        while True:
            await asyncio.sleep(ROUND_SECONDS)
            number += 1
            try:
                if number % PRUNE_ROUNDS == 0:
                    self._pool.prune()
                    self._report_long_checkouts()
                self._monitor.tick()
                if not self._connector.settings.db_pgbouncer:
                    self._leave_old_primaries()
                    self._detect_losses()
                if number % ORPHAN_ROUNDS == 0:
                    self._terminate_orphans()
            except Exception:
                log.exception("a round of the pool's watchdog failed, the next one follows")

    def _report_long_checkouts(self) -> None:
        now = self._pool.loop.time()
        longest = self._connector.settings.db_checkout_warning
        long: set[tuple[Connection, float]] = set()
        for connection, checkout in self._pool.in_use.items():
            since = connection.acquired_at
            if now - since > longest:
                code = checkout or connection.operations.locate()
                if code is None:  # the single statement has just ended
                    continue
                long.add((connection, since))
                if (connection, since) not in self._reported:
                    log.warning(
                        "a connection has been checked out for %.0f s by %s", now - since, code
                    )
        self._reported = long

    def _leave_old_primaries(self) -> None:
        """Close the connections to servers whose timeline is older than the newest known one."""
        connections = self._pool.open_connections()
        if self._monitor.connection is not None:
            connections.append(self._monitor.connection)
        newest = max((one.timeline or 0 for one in connections), default=0)
        self._connector.newest_timeline = newest
        if len(self._connector.target.hosts) > 1 and not self._connector.wants_primary:
            return
        old = [one for one in connections if one.timeline and one.timeline < newest]
        for one in old:
            self._pool.terminate(one)
        if old:
            log.warning("the primary has changed: closed %d connections to the old one", len(old))

    def _detect_losses(self) -> None:
        now, in_use, monitor = self._pool.loop.time(), self._pool.in_use, self._monitor
        self._next_check = {one: at for one, at in self._next_check.items() if one in in_use}
        self._unacknowledged = {
            one: size for one, size in self._unacknowledged.items() if one.sent_at
        }
        if monitor.silent_since:
            self._alarm_until = now + ALARM_SECONDS
            for one in self._pool.open_connections():
                monitor.note_answer(one.address, one.answered_at)
        self._checks = {where: check for where, check in self._checks.items() if not check.done()}
        for address, suspects in self._suspects(now).items():
            self._close_unreachable(address, suspects)
            is_alarm = now < self._alarm_until
            due = [one for one in suspects if is_alarm or now > self._next_check.get(one, 0)]
            if due and address not in self._checks and len(self._checks) < MAX_CONCURRENT_CHECKS:
                task = self._pool.loop.create_task(self._check(address, due))
                self._checks[address] = task

    def _suspects(self, now: float) -> dict[Any, list[Connection]]:
        """Return the connections with a long-running statement, by address.

        Unix sockets are left out: the operating system reports when the other side closes them.
        """
        found: dict[Any, list[Connection]] = {}
        seconds = SUSPECT_SECONDS + self._monitor.round_trip
        for one in self._pool.in_use:
            is_local = isinstance(one.address, str)
            if not one.sent_at or now - one.sent_at < seconds or one.is_closed() or is_local:
                continue
            if not self._is_being_sent(one):
                found.setdefault(one.address, []).append(one)
        return found

    def _is_being_sent(self, connection: Connection) -> bool:
        """Return True while the transmission of a large statement makes progress.

        The server's process is idle until it has received the whole statement.
        """
        before = self._unacknowledged.get(connection)
        now = self._unacknowledged[connection] = connection.unacknowledged_bytes()
        return now > 0 and (before is None or now < before)

    def _close_unreachable(self, address: Any, suspects: list[Connection]) -> None:
        """Close the connections of statements that were sent to an unreachable server."""
        monitor, now = self._monitor, self._pool.loop.time()
        silent_since = monitor.silent_since.get(address)
        if silent_since is None:
            return
        has_moved = monitor.connection is not None and monitor.connection.address != address
        is_replaced = has_moved and self._connector.wants_primary  # there is another primary
        seconds = 0 if is_replaced else UNREACHABLE_SECONDS
        for one in suspects:
            if now - max(silent_since, one.sent_at) > seconds:
                self._close(one, one.sent_at, "the monitoring connection got no answer either")

    async def _check(self, address: Any, suspects: list[Connection]) -> None:
        """Ask the server about long-running statements, and close the connections of lost ones.

        If the server cannot be asked, nothing is closed, and a later round asks again.
        """
        sent = {one: one.sent_at for one in suspects}
        try:
            answer = await self._ask(address, suspects)
        except (LearnerError, *DRIVER_ERRORS):
            return
        now = self._pool.loop.time()
        server = answer.connection.server
        active = {row["pid"] for row in answer.rows}
        for one, sent_at in sent.items():
            if one.is_closed():
                continue
            if one.server == server and one.get_server_pid() in active:
                self._next_check[one] = now + (now - sent_at)  # in intervals that double
            elif one.server[0] == server[0]:  # another server may answer at the same address
                self._close(one, sent_at, "the server is not executing it")

    async def _ask(self, address: Any, suspects: list[Connection]) -> Answer:
        """Query which of the statements' processes are active, on the monitoring connection.

        If that is connected to another address, a new connection is opened.
        """
        pids = [one.get_server_pid() for one in suspects if not one.is_closed()]
        grace = IDLE_GRACE_SECONDS + 2 * self._monitor.round_trip
        established = self._monitor.connection
        if established is not None and established.address == address:
            return await self._monitor.ask(ACTIVE_BACKENDS, pids, grace, address=address)
        return await self._ask_on_new_connection(address, ACTIVE_BACKENDS, pids, grace)

    async def _ask_on_new_connection(self, address: Any, query: str, *args: Any) -> Answer:
        seconds = CHECK_SECONDS + ROUND_TRIPS * self._monitor.round_trip
        async with asyncio.timeout(seconds):
            connection = await self._connector.connect_to(address, seconds)
            try:
                return Answer(connection, await connection.fetch(query, *args))
            finally:
                connection.terminate()

    def _close(self, connection: Connection, sent_at: float, reason: str) -> None:
        """Close a connection, unless its statement has ended meanwhile."""
        if connection.sent_at == sent_at and not connection.is_closed():
            elapsed = self._pool.loop.time() - sent_at
            log.warning(
                "a statement got no answer for %.1f s, connection closed: %s", elapsed, reason
            )
            connection.terminate()
            self._alarm_until = self._pool.loop.time() + ALARM_SECONDS

    def _terminate_orphans(self) -> None:
        now = self._pool.loop.time()
        orphans = self._pool.orphans
        for one, since in list(orphans.items()):
            if now - since > ORPHAN_FORGET_SECONDS:
                del orphans[one]
        due = [one for one, since in orphans.items() if now - since > ORPHAN_SECONDS]
        # several tasks, so that one server without an answer does not delay the others
        if due and len(self._orphan_tasks) < MAX_CONCURRENT_CHECKS:
            task = self._pool.loop.create_task(self._terminate_sessions(due))
            self._orphan_tasks.add(task)
            task.add_done_callback(self._orphan_tasks.discard)

    async def _terminate_sessions(self, orphans: list[Connection]) -> None:
        """Terminate the sessions of broken connections on one of the servers.

        If that server cannot be reached, a later round tries again.
        """
        address, here = _of_one_server(orphans)
        if not isinstance(address, str):
            pids, starts = zip(*(one.backend for one in here), strict=True)
            try:
                answer = await self._ask_on_new_connection(address, TERMINATE_ORPHANS, pids, starts)
            except (LearnerError, *DRIVER_ERRORS):
                return
            if count := len(answer.rows):
                log.warning("terminated %d sessions of broken connections on the server", count)
        for one in here:
            self._pool.orphans.pop(one, None)


def _of_one_server(connections: Iterable[Connection]) -> tuple[Any, list[Connection]]:
    """Return one of the addresses of the connections, and the connections to it.

    The choice is random, so that a server without an answer cannot block the other servers.
    """
    found = list(connections)
    address = random.choice(found).address  # noqa: S311  # no secret
    return address, [one for one in found if one.address == address]
