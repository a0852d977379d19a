"""Evidence that the server did not execute a statement that was sent.

PostgreSQL answers a bound statement with BindComplete before it begins to execute it. If the first
message is an error instead, the statement was not executed, and it is safe to send it again.
asyncpg discards BindComplete, so this protocol reads the type of the message before asyncpg does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

ERROR_RESPONSE = b"E"
FATAL = b"\0VFATAL\0"
"""Severity field of an error that ends the session, untranslated."""

READY_FOR_QUERY = ord("Z")
READY_BYTES = 6
"""ReadyForQuery, with which almost all received data ends, and its length."""

FATAL_ERROR_BYTES = 1000
HEADER_BYTES = 50
"""Upper limits: of the error that ends a session, and of its part before the severity."""

SESSION_END_FUNCTION = "ProcessInterrupts"
"""PostgreSQL's function that ends a session; an error of a proxy does not have this source."""


class ReplyMonitor(asyncio.Protocol):
    """Protocol that notes the type of an awaited message and passes all data to asyncpg's."""

    def __init__(self, protocol: Any, on_session_end: Callable[[], None]) -> None:
        """
        Args:
            protocol: asyncpg's.
            on_session_end: called when the server has sent the error that ends the session. asyncpg
                itself waits for the end of the stream, and until then its COPY leaves the protocol
                in an inconsistent state.
        """
        self.first = b""
        """Type of the first message after :meth:`start`, empty before it has arrived."""
        self._on_session_end = on_session_end
        self._is_waiting = False
        self._receive = protocol.data_received
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def start(self) -> None:
        """Note the type of the next message, while no other reply is awaited."""
        self.first = b""
        self._is_waiting = True

    def forget(self) -> None:
        """Discard the evidence about earlier statements."""
        self.first = b""

    def stop(self) -> None:
        self._is_waiting = False

    def data_received(self, data: bytes) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self.first = data[:1]
        self._receive(data)
        if (
            len(data) > READY_BYTES
            and data[-READY_BYTES] != READY_FOR_QUERY
            and _ends_session(data)
        ):
            self._on_session_end()

    def proves_unexecuted(self, error: BaseException) -> bool:
        """Return True if the session was ended before the bound statement was executed."""
        cause: Any = error.__cause__
        return bool(
            self.first == ERROR_RESPONSE
            and isinstance(error, asyncpg.ConnectionDoesNotExistError)
            and isinstance(cause, asyncpg.PostgresError)
            and getattr(cause, "severity_en", None) == "FATAL"
            and getattr(cause, "server_source_function", None) == SESSION_END_FUNCTION
        )


def _ends_session(data: bytes) -> bool:
    """Return True if the last message is an error that ends the session."""
    tail = data[-FATAL_ERROR_BYTES:]
    severity = tail.rfind(FATAL)
    return any(
        tail[at : at + 1] == ERROR_RESPONSE
        and at + 1 + int.from_bytes(tail[at + 1 : at + 5], "big") == len(tail)
        for at in range(max(0, severity - HEADER_BYTES), severity)
    )
