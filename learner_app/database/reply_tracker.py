"""Protocol that finds evidence that the server did not execute a statement that was sent.

In the extended query protocol the server sends BindComplete before it executes a statement. If its
first message is an error instead, the statement was not executed and can safely be sent again.
asyncpg discards BindComplete, so this protocol reads the type of the message before asyncpg does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import asyncpg

ERROR_RESPONSE = b"E"
FATAL = b"\0VFATAL\0"
"""Untranslated severity field of an error that ends the session."""

READY_FOR_QUERY = ord("Z")
READY_BYTES = 6
"""Type and length of ReadyForQuery, the message with which almost all received data ends."""

FATAL_ERROR_BYTES = 1000
"""Maximum length of the error that ends a session."""
HEADER_BYTES = 50
"""Maximum length of the part of an error before its untranslated severity."""

SESSION_END_FUNCTION = "ProcessInterrupts"
"""Source function of the error with which PostgreSQL ends a session; a proxy does not send it."""


class ReplyTracker(asyncio.Protocol):
    """Protocol that records the type of the first reply and passes all data to asyncpg's."""

    def __init__(self, protocol: Any, on_session_end: Callable[[], None]) -> None:
        """
        Args:
            protocol: protocol of asyncpg that receives the data.
            on_session_end: called when the server has sent the error that ends the session. asyncpg
                itself waits for the end of the stream, and a COPY before that leaves its protocol
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
        """Record the type of the next message, while no other reply is awaited."""
        self.first = b""
        self._is_waiting = True

    def forget(self) -> None:
        """Discard the recorded type, which is about an earlier statement, and record nothing."""
        self.first = b""
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
        """Return True if the server ended the session before it executed the statement."""
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
