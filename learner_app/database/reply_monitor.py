"""Evidence that the server did not execute a statement that it was sent.

PostgreSQL answers a bound statement with BindComplete before it starts to execute it. When the
first message is an error instead, the statement was not executed. asyncpg discards BindComplete,
therefore a protocol of our own reads the message type before asyncpg does.
"""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg

ERROR_RESPONSE = b"E"
FAREWELL_SOURCE = "ProcessInterrupts"
"""PostgreSQL's function that ends a session. A proxy that invents the SQLSTATE does not name it."""


class ReplyMonitor(asyncio.Protocol):
    """Pass all that arrives to asyncpg's protocol; between start and stop, note the first type."""

    def __init__(self, protocol: Any) -> None:
        self.first = b""
        self._is_waiting = False
        self._receive = protocol.data_received
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def start(self) -> None:
        """Note the type of the next message; nothing else is awaited on the connection."""
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

    def proves_unexecuted(self, error: BaseException) -> bool:
        """Return whether the session was ended before the bound statement was executed."""
        farewell: Any = error.__cause__
        return bool(
            self.first == ERROR_RESPONSE
            and isinstance(error, asyncpg.ConnectionDoesNotExistError)
            and isinstance(farewell, asyncpg.PostgresError)
            and getattr(farewell, "severity_en", None) == "FATAL"
            and getattr(farewell, "server_source_function", None) == FAREWELL_SOURCE
        )
