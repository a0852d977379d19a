"""Detection of servers with another protocol, by their answer to an SSLRequest."""

from __future__ import annotations

import asyncio
from contextlib import suppress

SSL_REQUEST = bytes([0, 0, 0, 8, 4, 210, 22, 47])
LINE = b"PING\r\n\r\n"
"""Makes servers of line protocols answer: HTTP reports a bad request, Redis executes it."""

ANSWER_SECONDS = 1.0
"""Above the round trip of any network that the application works on."""

READ_BYTES = 64


class OtherProtocol(ConnectionError):
    """The server at the address is not PostgreSQL."""


async def answers_otherwise(host: str, port: int) -> bool:
    """Return True if the server answers with another protocol than PostgreSQL's.

    False if it refuses, closes the connection or does not answer: a PostgreSQL server that starts,
    stops or is overloaded does the same. Takes at most 2 seconds.
    """
    # two connections, since Redis reads no line after a NUL
    for request in (SSL_REQUEST, LINE):
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
    # PostgreSQL answers S or N, or E with a message if it cannot start a process
    return answer not in (b"", b"S", b"N") and not answer.startswith(b"E")
