"""Opening one connection: the hosts in turn, each within a time of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import asyncpg

from learner_app.database.connection import Connection
from learner_app.database.failures import CONNECT_FAILURES, explain
from learner_app.database.target import Target
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


class Connector:
    """Opens connections to a target, as the settings say.

    Raises:
        SettingsError: the wanted encryption is not allowed, or its certificate not readable.
    """

    def __init__(self, target: Target, settings: Settings) -> None:
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
        self._silent_until: dict[tuple[str, int], float] = {}

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
        return await self._connect_to(target, "any", seconds, {"server_settings": self._named()})

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
            connection.keeps_no_state = True
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
        deadline = asyncio.get_running_loop().time() + seconds
        errors = []
        tries = list(self._tries())
        for number, (target, attributes) in enumerate(tries):
            left = deadline - asyncio.get_running_loop().time()
            if len(tries) > 1:
                left = min(self.settings.db_host_timeout, left / (len(tries) - number))
            try:
                return await self._connect_to(target, attributes, max(left, 0.001), options)
            except CONNECT_FAILURES as error:
                errors.append((self._explain(error, target), error))
        chosen, cause = next(
            (pair for pair in errors if isinstance(pair[0], DatabaseUnavailable)), errors[0]
        )
        raise self._in_short(chosen) from cause

    def _tries(self) -> Iterator[tuple[Target, str]]:
        """Each host alone with what it has to be; the silent ones last."""
        now = asyncio.get_running_loop().time()
        places = sorted(
            zip(self.target.hosts, self.target.ports, strict=True),
            key=lambda place: self._silent_until.get(place, 0) > now,
        )
        attributes = self.target.session_attributes
        for wanted in ("standby", "any") if attributes == "prefer-standby" else (attributes,):
            for host, port in places:
                yield replace(self.target, hosts=(host,), ports=(port,)), wanted

    async def _connect_to(
        self, target: Target, attributes: str, seconds: float, options: dict[str, Any]
    ) -> Connection:
        place = {"host": target.hosts[0], "port": target.ports[0]}
        arguments = self._arguments | options | place | {"target_session_attrs": attributes}
        try:
            connection: Connection = await asyncpg.connect(**arguments, timeout=seconds)
        except TimeoutError:
            now = asyncio.get_running_loop().time()
            self._silent_until[target.hosts[0], target.ports[0]] = now + AVOID_SECONDS
            raise
        return connection

    def _explain(self, error: BaseException, target: Target) -> LearnerError:
        """PgBouncer says 08P01 both of a wrong password and of a server that is away.

        Only its words tell them apart, which are the same in every language.
        """
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


async def _note_server(connection: Connection) -> None:
    address, port, started, *session = await connection.fetchrow(
        "SELECT inet_server_addr(), inet_server_port(), pg_postmaster_start_time(),"
        " pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    )
    connection.server = ((address, port, connection.address), started)
    connection.session = tuple(session)


def _limits(settings: Settings) -> dict[str, str]:
    """Time-outs of the session, in milliseconds."""
    seconds = {
        "statement_timeout": settings.statement_seconds,
        "lock_timeout": settings.lock_seconds,
        "idle_in_transaction_session_timeout": settings.db_idle_in_transaction_timeout,
    }
    return {name: str(max(1, int(value * 1000))) for name, value in seconds.items()}
