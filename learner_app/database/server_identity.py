"""Tell a server of another protocol from PostgreSQL, by its answer to an SSLRequest."""

from __future__ import annotations

import asyncio
from contextlib import suppress

SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
LINE = b"PING\r\n\r\n"
"""Makes servers of line protocols answer: HTTP a bad request, Redis the command."""

ANSWER_SECONDS = 1.0
"""Above the round trip of any network that the application works on."""

ENOUGH_BYTES = 64


class OtherProtocol(ConnectionError):
    """Something other than PostgreSQL answers at the address."""


async def answers_otherwise(host: str, port: int) -> bool:
    """Return whether the server answers, but not as PostgreSQL does.

    False where it refuses, closes the connection or is silent: a PostgreSQL server that starts,
    stops or is overloaded does the same. Takes 2 seconds at most.
    """
    for request in (SSL_REQUEST, LINE):  # Redis reads no line behind a NUL, so each on its own
        with suppress(OSError):
            async with asyncio.timeout(ANSWER_SECONDS):
                return _is_other(await _answer(host, port, request))
    return False


async def _answer(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        return await reader.read(ENOUGH_BYTES)
    finally:
        writer.close()


def _is_other(answer: bytes) -> bool:
    """PostgreSQL sends one letter, or an error message when it cannot start a process."""
    return answer not in (b"", b"S", b"N") and not answer.startswith(b"E")
