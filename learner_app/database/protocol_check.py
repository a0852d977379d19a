"""Detection of servers that are not PostgreSQL, by their answer to an SSLRequest."""

from __future__ import annotations

import asyncio
from contextlib import suppress

SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
"""SSLRequest of PostgreSQL's protocol: length 8, code 80877103."""

LINE_REQUEST = b"PING\r\n\r\n"
"""Request that servers of line protocols answer: HTTP with an error, Redis with PONG."""

ANSWER_SECONDS = 1.0
"""Time limit for the answer to one request."""

READ_BYTES = 64
"""Length of the beginning of the answer that is read."""


class OtherProtocol(ConnectionError):
    """The server at the address is not PostgreSQL."""


async def speaks_other_protocol(host: str, port: int) -> bool:
    """Return True if the server answers in another protocol than PostgreSQL's.

    Return False if it refuses or closes the connection or does not answer: a PostgreSQL server that
    starts, stops or is overloaded does the same. Takes at most 2 seconds.
    """
    # one connection per request, since Redis reads no line after a NUL
    for request in (SSL_REQUEST, LINE_REQUEST):
        with suppress(OSError):
            async with asyncio.timeout(ANSWER_SECONDS):
                return _is_other_protocol(await _answer(host, port, request))
    return False


async def _answer(host: str, port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request)
        return await reader.read(READ_BYTES)
    finally:
        writer.close()


def _is_other_protocol(answer: bytes) -> bool:
    # PostgreSQL answers S (TLS) or N (no TLS), or E with a message if it cannot start a process
    return answer not in (b"", b"S", b"N") and not answer.startswith(b"E")
