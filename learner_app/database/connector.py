"""Opening one connection: to the first host that answers and fits, the hosts tried in parallel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import asyncpg

from learner_app.database.connection import Connection
from learner_app.database.dsn import DatabaseUrl
from learner_app.database.error_mapping import CONNECT_FAILURES, explain
from learner_app.database.server_identity import OtherProtocol, answers_otherwise
from learner_app.errors import (
    DatabaseNotConfigured,
    DatabaseRefused,
    DatabaseUnavailable,
    LearnerError,
    SettingsError,
)
from learner_app.schema.schema_object import quoted
from learner_app.settings import Settings

AVOID_SECONDS = 10
"""How long a host that did not answer is tried after the others."""

STAGGER_SECONDS = 0.25
"""Head start of a host before the next one is tried beside it, as RFC 8305 advises."""

IDENTIFY_SECONDS = 0.5
"""Silence of a server never connected to, after which its protocol is looked at."""

FIRST = asyncio.FIRST_COMPLETED
PRIMARY_ATTRIBUTES = ("primary", "read-write")
MONITOR_LIMITS = {"statement_timeout": "2000", "lock_timeout": "400"}
"""Milliseconds: an answer in time is worth more than the result."""


class Connector:
    """Opens connections to a target, as the settings say.

    Raises:
        SettingsError: the wanted encryption is not allowed, or its certificate not readable.
    """

    def __init__(self, target: DatabaseUrl, settings: Settings) -> None:
        self.target = target
        self.settings = settings
        self._arguments = target.connect_arguments(settings)
        self._arguments["connection_class"] = Connection
        if taken := set(target.server_settings) & set(_limits(settings)):
            raise SettingsError(
                f"the URL sets {', '.join(sorted(taken))}: use the DB_ setting of that name instead"
            )
        if settings.db_pgbouncer:
            if target.server_settings:
                names = ", ".join(target.server_settings)
                raise SettingsError(f"DB_PGBOUNCER: the URL cannot set {names} through PgBouncer")
            self._arguments |= {"statement_cache_size": 0, "server_settings": {}}
        self.newest_timeline = 0
        """Highest timeline of the present connections; a primary of a lower one was replaced."""
        self._silent_until: dict[tuple[str, int], float] = {}
        self._identified: set[tuple[str, int]] = set()

    @property
    def wants_primary(self) -> bool:
        return self.target.session_attributes in PRIMARY_ATTRIBUTES

    async def connect(self, seconds: float) -> Connection:
        """A connection for long work: without any time-out of statements.

        Raises:
            DatabaseUnavailable: no host answered within the time, or none fits
                ``target_session_attrs``.
            DatabaseRefused: the hosts say no, or are not to be trusted.
        """
        named = {} if self.settings.db_pgbouncer else self._named()
        return await self._first(seconds, server_settings=named)

    async def connect_to(self, address: tuple[str, int], seconds: float) -> Connection:
        """A connection to one of the hosts, whatever it is at present."""
        target = replace(self.target, hosts=(address[0],), ports=(address[1],))
        connection = await self._connect_to(
            target, "any", seconds, {"server_settings": self._named()}
        )
        await self._prepare(connection, _note_server)
        return connection

    async def connect_for_monitor(self, seconds: float | None = None) -> Connection:
        """A connection for short questions; raises the same as :meth:`connect`."""
        options: dict[str, Any] = {}
        if not self.settings.db_pgbouncer:
            options["server_settings"] = MONITOR_LIMITS | self._named()
        connection = await self._first(seconds or self.settings.db_connect_timeout, **options)
        if not self.settings.db_pgbouncer:
            await self._prepare(connection, _note_server)
        return connection

    async def connect_for_pool(self) -> Connection:
        """A connection whose statements end in time; raises the same as :meth:`connect`."""
        try:
            return await self._connect_for_pool()
        except DatabaseNotConfigured as error:  # `learner up` starts it again when it was killed
            raise DatabaseUnavailable(str(error)) from error.__cause__

    async def _connect_for_pool(self) -> Connection:
        settings = self.settings
        command = settings.db_command_timeout
        seconds = settings.db_connect_timeout
        if settings.db_pgbouncer:
            connection = await self._first(seconds, command_timeout=command)
            await self._prepare(connection, self._verify_role)
            connection.is_transaction_pooled = True
        else:
            limits = _limits(settings) | self._named()
            connection = await self._first(seconds, command_timeout=command, server_settings=limits)
            await self._prepare(connection, _note_server)
        return connection

    def _named(self) -> dict[str, str]:
        return {
            "application_name": self.settings.db_application_name,
            **self.target.server_settings,
        }

    async def _first(self, seconds: float, **options: Any) -> Connection:
        """The first connection that can be had to a host with the wanted attributes."""
        deadline = asyncio.get_running_loop().time() + seconds
        wanted = self.target.session_attributes
        stages = ("standby", "any") if wanted == "prefer-standby" else (wanted,)
        errors: list[tuple[LearnerError, BaseException]] = []
        for number, attributes in enumerate(stages):
            left = (deadline - asyncio.get_running_loop().time()) / (len(stages) - number)
            connection = await self._race(attributes, max(left, 0.001), options, errors)
            if connection is not None:
                return connection
        chosen, cause = next(
            (pair for pair in errors if isinstance(pair[0], DatabaseUnavailable)), errors[0]
        )
        raise self._in_short(chosen) from cause

    async def _race(
        self,
        attributes: str,
        seconds: float,
        options: dict[str, Any],
        errors: list[tuple[LearnerError, BaseException]],
    ) -> Connection | None:
        """Try the hosts, each a little after the one before; None when all have failed."""
        loop = asyncio.get_running_loop()
        hosts = self._hosts()
        if len(hosts) > 1 or self.target.session_attributes == "prefer-standby":
            seconds = min(self.settings.db_host_timeout, seconds)
        attempts: dict[asyncio.Task[Connection], DatabaseUrl] = {}
        try:
            while hosts or attempts:
                if hosts:
                    host = hosts.pop(0)
                    work = self._connect_to(host, attributes, seconds, options)
                    attempts[loop.create_task(work)] = host
                done, _ = await asyncio.wait(
                    attempts,
                    timeout=STAGGER_SECONDS if hosts else None,
                    return_when=FIRST,
                )
                for attempt in done:
                    error = attempt.exception()
                    if error is None:
                        del attempts[attempt]
                        return attempt.result()
                    if not isinstance(error, CONNECT_FAILURES):
                        raise error
                    errors.append((self._explain(error, attempts.pop(attempt)), error))
            return None
        finally:
            for attempt, host in attempts.items():
                self._avoid(host)
                attempt.add_done_callback(_abandon)
                attempt.cancel()

    def _hosts(self) -> list[DatabaseUrl]:
        """Each host alone; those that were silent last."""
        now = asyncio.get_running_loop().time()
        places = sorted(
            zip(self.target.hosts, self.target.ports, strict=True),
            key=lambda place: self._silent_until.get(place, 0) > now,
        )
        return [replace(self.target, hosts=(host,), ports=(port,)) for host, port in places]

    def _avoid(self, host: DatabaseUrl) -> None:
        now = asyncio.get_running_loop().time()
        self._silent_until[host.hosts[0], host.ports[0]] = now + AVOID_SECONDS

    async def _connect_to(
        self, target: DatabaseUrl, attributes: str, seconds: float, options: dict[str, Any]
    ) -> Connection:
        place = {"host": target.hosts[0], "port": target.ports[0]}
        arguments = self._arguments | options | place | {"target_session_attrs": attributes}
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open(target, arguments)
                await self._refuse_old_primary(connection, attributes)
        except TimeoutError:
            self._avoid(target)
            raise
        return connection

    async def _open(self, target: DatabaseUrl, arguments: dict[str, Any]) -> Connection:
        """Connect; a server that is not PostgreSQL may leave the driver waiting for more.

        Without an SSLRequest before it, the driver would take the greeting of another protocol for
        messages, and loop for ever over that of MySQL: there the protocol is looked at first.
        """
        place = target.hosts[0], target.ports[0]
        if place in self._identified or target.is_local:
            return await _connected(arguments)
        if arguments["ssl"] in (False, "allow") and await answers_otherwise(*place):
            raise OtherProtocol
        attempt = asyncio.create_task(_connected(arguments))
        try:
            await asyncio.wait([attempt], timeout=IDENTIFY_SECONDS)
            await self._refuse_other_protocol(attempt, place)
            connection = await attempt
        except BaseException:
            attempt.add_done_callback(_abandon)
            attempt.cancel()
            raise
        self._identified.add(place)
        return connection

    async def _refuse_other_protocol(
        self, attempt: asyncio.Task[Connection], place: tuple[str, int]
    ) -> None:
        """Look at the server's protocol, while the attempt goes on or after an unclear failure."""
        if attempt.done() and not _is_unclear(attempt.exception()):
            return
        look = asyncio.create_task(answers_otherwise(*place))
        try:
            await asyncio.wait([look] if attempt.done() else [attempt, look], return_when=FIRST)
            if attempt.done() and not look.done() and _is_unclear(attempt.exception()):
                await asyncio.wait([look])
            if look.done() and look.result():
                raise OtherProtocol
        finally:
            look.cancel()

    async def _refuse_old_primary(self, connection: Connection, attributes: str) -> None:
        """A primary that was frozen during a failover takes itself for the primary still."""
        if (
            attributes not in PRIMARY_ATTRIBUTES
            or len(self.target.hosts) == 1
            or self.settings.db_pgbouncer
        ):
            return
        try:
            await _note_server(connection)
        except BaseException:
            connection.terminate()
            raise
        if (connection.timeline or self.newest_timeline) < self.newest_timeline:
            connection.terminate()
            raise asyncpg.TargetServerAttributeNotMatched("a newer primary is known")

    def _explain(self, error: BaseException, target: DatabaseUrl) -> LearnerError:
        """PgBouncer says 08P01 both of a wrong password and of a server that is away.

        Only its words tell them apart, which are the same in every language.
        """
        place = f"{target.hosts[0]}:{target.ports[0]}"
        if isinstance(error, OtherProtocol):
            return DatabaseRefused(
                f"{target}: {place} is not a PostgreSQL server: check host and port"
            )
        if _was_closed(error):
            return DatabaseUnavailable(
                f"{target}: {place} closed the connection without an answer: "
                "it is starting or stopping, or it is not a PostgreSQL server"
            )
        says = str(error)
        is_refusal = "authentication" in says or "unsupported" in says
        if (
            self.settings.db_pgbouncer
            and getattr(error, "sqlstate", "") == "08P01"
            and not is_refusal
        ):
            return DatabaseUnavailable(f"{target}: PgBouncer has no server (08P01)")
        return explain(error, target)

    def _in_short(self, error: LearnerError) -> LearnerError:
        """With several hosts the line names all of them."""
        if len(self.target.hosts) == 1 or not isinstance(error, DatabaseUnavailable):
            return error
        return type(error)(f"{self.target}: none of the hosts can be used; one said: {error}")

    async def _prepare(self, connection: Connection, step: Any) -> None:
        try:
            async with asyncio.timeout(self.settings.db_connect_timeout):
                await step(connection)
        except CONNECT_FAILURES as error:
            connection.terminate()
            raise explain(error, self.target) from error
        except BaseException:
            connection.terminate()
            raise

    async def _verify_role(self, connection: Connection) -> None:
        """Through PgBouncer no time-out can be set; the role itself has to have them."""
        wanted = {name: int(value) for name, value in _limits(self.settings).items()}
        rows = await connection.fetch(
            "SELECT name, setting::bigint FROM pg_settings WHERE name = ANY($1)", list(wanted)
        )
        most = int(self.settings.db_command_timeout * 1000)
        if unset := [name for name, found in rows if not 0 < found < max(most, wanted[name] + 1)]:
            role = quoted(self.target.user)
            advice = "; ".join(
                f"ALTER ROLE {role} SET {name} = '{wanted[name]}ms'" for name in unset
            )
            raise DatabaseRefused(
                f"{self.target}: through PgBouncer the time-outs of the role count, and they are "
                f"missing or above DB_COMMAND_TIMEOUT: {advice}; then RECONNECT in PgBouncer"
            )


SERVER = """
    SELECT inet_server_addr(), inet_server_port(), pg_postmaster_start_time(), pid, backend_start,
        {timeline} AS timeline
    FROM pg_stat_activity WHERE pid = pg_backend_pid()
"""
WAL_TIMELINE = """
    CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END
"""


async def _note_server(connection: Connection) -> None:
    if connection.session is not None:
        return
    try:
        row = await connection.fetchrow(SERVER.format(timeline=WAL_TIMELINE))
    except (asyncpg.FeatureNotSupportedError, asyncpg.InsufficientPrivilegeError):
        row = await connection.fetchrow(SERVER.format(timeline="NULL::text"))
    address, port, started, pid, backend_start, timeline = row
    connection.server = ((address, port, connection.address), started)
    connection.session = (pid, backend_start)
    connection.timeline = None if timeline is None else int(timeline, 16)


async def _connected(arguments: dict[str, Any]) -> Connection:
    limited: dict[str, Any] = arguments | {"timeout": None}  # limited by who awaits it
    connection: Connection = await asyncpg.connect(**limited)
    return connection


def _abandon(attempt: asyncio.Task[Connection]) -> None:
    """Close what an attempt that nobody waits for any more has opened all the same."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()


def _is_unclear(error: BaseException | None) -> bool:
    """Whether a server of another protocol may have caused the error."""
    kinds = ConnectionError | asyncpg.ConnectionDoesNotExistError | asyncpg.InternalClientError
    return isinstance(error, kinds) and not isinstance(error, ConnectionRefusedError)


def _was_closed(error: BaseException) -> bool:
    if isinstance(error, ConnectionResetError | asyncpg.ConnectionDoesNotExistError):
        return not isinstance(error.__cause__, asyncpg.PostgresError)
    return isinstance(error, ConnectionError) and "connection_lost" in str(error)


def _limits(settings: Settings) -> dict[str, str]:
    """Time-outs of the session, in milliseconds."""
    seconds = {
        "statement_timeout": settings.statement_seconds,
        "lock_timeout": settings.lock_seconds,
        "idle_in_transaction_session_timeout": settings.db_idle_in_transaction_timeout,
    }
    return {name: str(max(1, int(value * 1000))) for name, value in seconds.items()}
