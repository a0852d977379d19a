"""Opening of a single connection: hosts in parallel, server checks, session settings.

Several hosts are tried in parallel, each with a head start of a quarter of a second before the next
one, as RFC 8305 recommends for IP addresses: a host that does not answer delays the others by that
time instead of its whole timeout. The first connection to a host with the requested attributes is
used.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import asyncpg

from learner_app.database.connection import Connection
from learner_app.database.dsn import DatabaseUrl
from learner_app.database.error_mapping import CONNECT_ERRORS, translate_connect_error
from learner_app.database.protocol_check import OtherProtocol, speaks_other_protocol
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
"""Time during which a host that did not answer is tried after the others."""

STAGGER_SECONDS = 0.25
"""Head start of a host before the next one is tried in parallel."""

IDENTIFY_SECONDS = 0.5
"""Time without an answer of a server never connected to, after which its protocol is checked."""

PRIMARY_ATTRIBUTES = ("primary", "read-write")
"""Values of ``target_session_attrs`` that require a server that accepts writes."""

MONITOR_TIMEOUTS = {"statement_timeout": "2000", "lock_timeout": "400"}
"""Timeouts of the monitoring connection, in milliseconds.

A health check has less than a second, so it has to fail rather than wait for a lock.
"""

NO_JIT = {"jit": "off"}
"""Setting of pooled connections, which a parameter of the URL overrides.

None of the package's statements gains from JIT compilation, but with it a generic plan with a high
estimate takes 100 ms instead of 0.5 ms.
"""

TIMEOUT_SETTINGS = {
    "statement_timeout": "DB_STATEMENT_TIMEOUT",
    "lock_timeout": "DB_LOCK_TIMEOUT",
    "idle_in_transaction_session_timeout": "DB_IDLE_IN_TRANSACTION_TIMEOUT",
}
"""Settings of the package by the session setting that they determine."""


class Connector:
    """Factory of connections to the hosts of a database URL."""

    def __init__(self, target: DatabaseUrl, settings: Settings) -> None:
        """Prepare the arguments of ``asyncpg.connect``, without connecting.

        Raises:
            SettingsError: the encryption mode is not allowed, a certificate is not usable, or the
                URL contains a session setting that DB_* settings determine or PgBouncer forbids.
        """
        self.target = target
        self.settings = settings
        self._arguments = target.connect_arguments(settings)
        self._arguments["connection_class"] = Connection
        if reserved := sorted(set(target.server_settings) & set(TIMEOUT_SETTINGS)):
            replacements = ", ".join(TIMEOUT_SETTINGS[name] for name in reserved)
            raise SettingsError(f"the URL sets {', '.join(reserved)}: use {replacements} instead")
        if settings.db_pgbouncer:
            if target.server_settings:
                names = ", ".join(target.server_settings)
                raise SettingsError(
                    f"DB_PGBOUNCER: the URL cannot set {names} through PgBouncer: remove it there, "
                    "and set it for the role"
                )
            self._arguments |= {"statement_cache_size": 0, "server_settings": {}}
        self.newest_timeline = 0
        """Highest timeline of the open connections; a primary with a lower one is outdated."""
        self._avoid_until: dict[tuple[str, int], float] = {}
        """Loop time until which an address is tried after the others."""
        self._identified: set[tuple[str, int]] = set()
        """Addresses at which a PostgreSQL server has answered."""

    @property
    def wants_primary(self) -> bool:
        """True if ``target_session_attrs`` requires a server that accepts writes."""
        return self.target.session_attributes in PRIMARY_ATTRIBUTES

    async def connect(self, seconds: float) -> Connection:
        """Open a connection for long work, without statement timeouts.

        Raises:
            DatabaseUnavailable: no host answered in time, or none has the requested
                ``target_session_attrs``.
            DatabaseRefused: the hosts refuse the connection or are not trusted.
        """
        settings = {} if self.settings.db_pgbouncer else self._session_settings()
        return await self._connect_any(seconds, server_settings=settings)

    async def connect_to(self, address: tuple[str, int], seconds: float) -> Connection:
        """Open a connection to one address, whether a primary or a standby answers there.

        Errors of asyncpg and the network are raised unchanged.
        """
        target = replace(self.target, hosts=(address[0],), ports=(address[1],))
        options = {"server_settings": self._session_settings()}
        connection = await self._connect_host(target, "any", seconds, options)
        await self._complete(connection, _identify_server)
        return connection

    async def connect_for_monitor(self, seconds: float | None = None) -> Connection:
        """Open a monitoring connection, with the errors of :meth:`connect`.

        Args:
            seconds: time limit, DB_CONNECT_TIMEOUT if left out.
        """
        options: dict[str, Any] = {}
        if not self.settings.db_pgbouncer:
            options["server_settings"] = MONITOR_TIMEOUTS | self._session_settings()
        connection = await self._connect_any(seconds or self.settings.db_connect_timeout, **options)
        if not self.settings.db_pgbouncer:
            await self._complete(connection, _identify_server)
        return connection

    async def connect_for_pool(self) -> Connection:
        """Open a connection with statement timeouts, with the errors of :meth:`connect`."""
        try:
            return await self._connect_for_pool()
        except DatabaseNotConfigured as error:
            # the server of `learner up` was killed and is started again: an error to retry
            raise DatabaseUnavailable(str(error)) from error.__cause__

    async def _connect_for_pool(self) -> Connection:
        settings = self.settings
        command = settings.db_command_timeout
        seconds = settings.db_connect_timeout
        if settings.db_pgbouncer:
            connection = await self._connect_any(seconds, command_timeout=command)
            await self._complete(connection, self._verify_role)
            connection.is_transaction_pooled = True
        else:
            connection = await self._connect_any(
                seconds,
                command_timeout=command,
                server_settings=_timeouts(settings) | NO_JIT | self._session_settings(),
            )
            await self._complete(connection, _identify_server)
        return connection

    def _session_settings(self) -> dict[str, str]:
        return {
            "application_name": self.settings.db_application_name,
            **self.target.server_settings,
        }

    async def _connect_any(self, seconds: float, **options: Any) -> Connection:
        """Return the first connection to a host with the requested attributes."""
        deadline = asyncio.get_running_loop().time() + seconds
        requested = self.target.session_attributes
        stages = ("standby", "any") if requested == "prefer-standby" else (requested,)
        errors: list[tuple[LearnerError, BaseException]] = []
        for number, attributes in enumerate(stages):
            left = (deadline - asyncio.get_running_loop().time()) / (len(stages) - number)
            connection = await self._try_hosts(attributes, max(left, 0.001), options, errors)
            if connection is not None:
                return connection
        # if a retry may succeed on one host, the error must be one that is retried
        chosen, cause = next(
            (pair for pair in errors if isinstance(pair[0], DatabaseUnavailable)), errors[0]
        )
        raise self._summarize(chosen) from cause

    async def _try_hosts(
        self,
        attributes: str,
        seconds: float,
        options: dict[str, Any],
        errors: list[tuple[LearnerError, BaseException]],
    ) -> Connection | None:
        """Try the hosts in parallel with head starts, and return None if all of them fail.

        Args:
            attributes: ``target_session_attrs`` of this stage.
            seconds: time limit per host, at most DB_HOST_TIMEOUT if there are several.
            options: arguments of ``asyncpg.connect``.
            errors: list to which the error of each failed host is appended, with its cause.
        """
        loop = asyncio.get_running_loop()
        hosts = self._hosts()
        if len(hosts) > 1 or self.target.session_attributes == "prefer-standby":
            seconds = min(self.settings.db_host_timeout, seconds)
        attempts: dict[asyncio.Task[Connection], DatabaseUrl] = {}
        try:
            while hosts or attempts:
                if hosts:
                    host = hosts.pop(0)
                    work = self._connect_host(host, attributes, seconds, options)
                    attempts[loop.create_task(work)] = host
                done, _ = await asyncio.wait(
                    attempts,
                    timeout=STAGGER_SECONDS if hosts else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for attempt in done:
                    error = attempt.exception()
                    if error is None:
                        del attempts[attempt]
                        return attempt.result()
                    if not isinstance(error, CONNECT_ERRORS):
                        raise error
                    errors.append((self._translate(error, attempts.pop(attempt)), error))
            return None
        finally:
            for attempt, host in attempts.items():
                self._avoid(host)
                attempt.add_done_callback(_terminate_result)
                attempt.cancel()

    def _hosts(self) -> list[DatabaseUrl]:
        """Return one URL per host, with the hosts that did not answer recently at the end."""
        now = asyncio.get_running_loop().time()
        addresses = sorted(
            zip(self.target.hosts, self.target.ports, strict=True),
            key=lambda address: self._avoid_until.get(address, 0) > now,
        )
        return [replace(self.target, hosts=(host,), ports=(port,)) for host, port in addresses]

    def _avoid(self, host: DatabaseUrl) -> None:
        now = asyncio.get_running_loop().time()
        self._avoid_until[host.hosts[0], host.ports[0]] = now + AVOID_SECONDS

    async def _connect_host(
        self, target: DatabaseUrl, attributes: str, seconds: float, options: dict[str, Any]
    ) -> Connection:
        address = {"host": target.hosts[0], "port": target.ports[0]}
        arguments = self._arguments | options | address | {"target_session_attrs": attributes}
        try:
            async with asyncio.timeout(seconds):
                connection = await self._open(target, arguments)
                await self._refuse_old_primary(connection, attributes)
        except TimeoutError:
            self._avoid(target)
            raise
        return connection

    async def _open(self, target: DatabaseUrl, arguments: dict[str, Any]) -> Connection:
        """Connect, and refuse a server that is not PostgreSQL.

        asyncpg may wait endlessly for the rest of a message of such a server. Without TLS, where no
        SSLRequest is sent first, it would parse the greeting of another protocol as messages, and
        that of MySQL in an endless loop. Then the protocol is checked before the attempt.
        """
        address = target.hosts[0], target.ports[0]
        if address in self._identified or target.is_local:
            return await _connect(arguments)
        if arguments["ssl"] in (False, "allow") and await speaks_other_protocol(*address):
            raise OtherProtocol
        attempt = asyncio.create_task(_connect(arguments))
        try:
            await asyncio.wait([attempt], timeout=IDENTIFY_SECONDS)
            await self._refuse_other_protocol(attempt, address)
            connection = await attempt
        except BaseException:
            attempt.add_done_callback(_terminate_result)
            attempt.cancel()
            raise
        self._identified.add(address)
        return connection

    async def _refuse_other_protocol(
        self, attempt: asyncio.Task[Connection], address: tuple[str, int]
    ) -> None:
        """Check the protocol during an attempt without an answer, or after an ambiguous failure.

        Raises:
            OtherProtocol: the server is not PostgreSQL.
        """
        if attempt.done() and not _is_ambiguous(attempt.exception()):
            return
        check = asyncio.create_task(speaks_other_protocol(*address))
        tasks = [check] if attempt.done() else [attempt, check]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if attempt.done() and not check.done() and _is_ambiguous(attempt.exception()):
                await asyncio.wait([check])
            if check.done() and check.result():
                raise OtherProtocol
        finally:
            check.cancel()

    async def _refuse_old_primary(self, connection: Connection, attributes: str) -> None:
        """Raise an error if a standby was promoted while this primary was frozen.

        Such a server still reports that it is the primary, but its timeline is an older one.
        """
        if (
            attributes not in PRIMARY_ATTRIBUTES
            or len(self.target.hosts) == 1
            or self.settings.db_pgbouncer
        ):
            return
        try:
            await _identify_server(connection)
        except BaseException:
            connection.terminate()
            raise
        if (connection.timeline or self.newest_timeline) < self.newest_timeline:
            connection.terminate()
            raise asyncpg.TargetServerAttributeNotMatched("a newer primary is known")

    def _translate(self, error: BaseException, target: DatabaseUrl) -> LearnerError:
        """Return the error of the package for a failed attempt.

        PgBouncer sends 08P01 both for a wrong password and for an unreachable server. Only the text
        distinguishes the two; PgBouncer's messages are always English.
        """
        address = f"{target.hosts[0]}:{target.ports[0]}"
        if isinstance(error, OtherProtocol):
            return DatabaseRefused(
                f"{target}: {address} is not a PostgreSQL server: check host and port"
            )
        if _was_closed(error):
            return DatabaseUnavailable(
                f"{target}: {address} closed the connection without an answer: "
                "it is starting or stopping, or it is not a PostgreSQL server"
            )
        message = str(error)
        is_refusal = "authentication" in message or "unsupported" in message
        if (
            self.settings.db_pgbouncer
            and getattr(error, "sqlstate", "") == "08P01"
            and not is_refusal
        ):
            return DatabaseUnavailable(f"{target}: PgBouncer cannot reach the server (08P01)")
        return translate_connect_error(error, target)

    def _summarize(self, error: LearnerError) -> LearnerError:
        """Return one error that names all hosts, if there are several."""
        if len(self.target.hosts) == 1 or not isinstance(error, DatabaseUnavailable):
            return error
        return type(error)(f"{self.target}: no host is available; one of the errors: {error}")

    async def _complete(
        self, connection: Connection, step: Callable[[Connection], Awaitable[None]]
    ) -> None:
        """Run the first query on a new connection, and terminate the connection if it fails."""
        try:
            async with asyncio.timeout(self.settings.db_connect_timeout):
                await step(connection)
        except CONNECT_ERRORS as error:
            connection.terminate()
            raise translate_connect_error(error, self.target) from error
        except BaseException:
            connection.terminate()
            raise

    async def _verify_role(self, connection: Connection) -> None:
        """Raise DatabaseRefused unless the role has timeouts below DB_COMMAND_TIMEOUT.

        Session settings cannot be sent on connect through PgBouncer, so the role must have them.
        """
        expected = {name: int(value) for name, value in _timeouts(self.settings).items()}
        rows = await connection.fetch(
            "SELECT name, setting::bigint FROM pg_settings WHERE name = ANY($1)", list(expected)
        )
        limit = int(self.settings.db_command_timeout * 1000)
        if unset := [
            name for name, found in rows if not 0 < found < max(limit, expected[name] + 1)
        ]:
            role = quoted(self.target.user)
            advice = "; ".join(
                f"ALTER ROLE {role} SET {name} = '{expected[name]}ms'" for name in unset
            )
            raise DatabaseRefused(
                f"{self.target}: with PgBouncer the role must have timeouts below "
                f"DB_COMMAND_TIMEOUT: {advice}; then RECONNECT in PgBouncer"
            )


SERVER_AND_BACKEND = """
    SELECT inet_server_addr(), inet_server_port(), pg_postmaster_start_time(), pid, backend_start,
        {timeline} AS timeline
    FROM pg_stat_activity WHERE pid = pg_backend_pid()
"""
WAL_TIMELINE = """
    CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) END
"""


async def _identify_server(connection: Connection) -> None:
    """Query server, backend and timeline of a connection, if they are not known yet."""
    if connection.backend is not None:
        return
    try:
        row = await connection.fetchrow(SERVER_AND_BACKEND.format(timeline=WAL_TIMELINE))
    except (asyncpg.FeatureNotSupportedError, asyncpg.InsufficientPrivilegeError):
        # a managed server without access to the write-ahead log
        row = await connection.fetchrow(SERVER_AND_BACKEND.format(timeline="NULL::text"))
    address, port, started, pid, backend_start, timeline = row
    connection.server = ((address, port, connection.address), started)
    connection.backend = (pid, backend_start)
    connection.timeline = None if timeline is None else int(timeline, 16)


async def _connect(arguments: dict[str, Any]) -> Connection:
    limited: dict[str, Any] = arguments | {"timeout": None}  # the caller limits the time
    connection: Connection = await asyncpg.connect(**limited)
    return connection


def _terminate_result(attempt: asyncio.Task[Connection]) -> None:
    """Close the connection of an attempt that succeeded after the caller stopped waiting."""
    if not attempt.cancelled() and attempt.exception() is None:
        attempt.result().terminate()


def _is_ambiguous(error: BaseException | None) -> bool:
    """Return True if a server with another protocol may have caused the error."""
    kinds = ConnectionError | asyncpg.ConnectionDoesNotExistError | asyncpg.InternalClientError
    return isinstance(error, kinds) and not isinstance(error, ConnectionRefusedError)


def _was_closed(error: BaseException) -> bool:
    """Return True if the server closed the connection without an answer."""
    if isinstance(error, ConnectionResetError | asyncpg.ConnectionDoesNotExistError):
        return not isinstance(error.__cause__, asyncpg.PostgresError)
    return isinstance(error, ConnectionError) and "connection_lost" in str(error)


def _timeouts(settings: Settings) -> dict[str, str]:
    """Return the session's timeouts in milliseconds, by the names of TIMEOUT_SETTINGS."""
    seconds = {
        "statement_timeout": settings.statement_seconds,
        "lock_timeout": settings.lock_seconds,
        "idle_in_transaction_session_timeout": settings.db_idle_in_transaction_timeout,
    }
    return {name: str(max(1, int(value * 1000))) for name, value in seconds.items()}
