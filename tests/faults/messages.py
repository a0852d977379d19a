"""The two byte streams of a PostgreSQL connection, cut into messages.

Only what it takes to see a COMMIT go by and to recognise the whole of its answer.
"""

import re
import struct
from collections.abc import Iterator
from enum import Enum, auto

SSL_REQUEST = 80877103
GSS_REQUEST = 80877104
SYNC_TYPES = (b"Q", b"S", b"F")  # the server answers each of them with one ReadyForQuery
_COMMIT = re.compile(rb"\s*commit\b", re.IGNORECASE)


class Framing(Enum):
    """How the next message of a stream tells its size."""

    STARTUP = auto()
    TYPED = auto()
    ONE_BYTE = auto()
    RAW = auto()


class MessageStream:
    """One direction. ``framing`` may be changed between two messages."""

    def __init__(self, framing: Framing) -> None:
        self.framing = framing
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The messages that are whole now; the rest waits for the next chunk."""
        self._buffer += chunk
        while size := self._next_size():
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            yield message

    def _next_size(self) -> int:
        available = len(self._buffer)
        if self.framing is Framing.RAW:
            return available
        if self.framing is Framing.ONE_BYTE:
            return min(available, 1)
        before = 1 if self.framing is Framing.TYPED else 0
        if available < before + 4:
            return 0
        size: int = struct.unpack_from("!I", self._buffer, before)[0] + before
        return size if available >= size else 0


class Conversation:
    """Follows one connection from its first byte and tells where a COMMIT and its answer are."""

    def __init__(self) -> None:
        self._client = MessageStream(Framing.STARTUP)
        self._server = MessageStream(Framing.TYPED)
        self._asked = 0  # ReadyForQuery messages that the server owes in all
        self._answered = 0
        self._commit_parsed = False
        self._held_from: int | None = None

    def from_client(self, chunk: bytes) -> Iterator[bytes]:
        """The client's messages that are whole now."""
        for message in self._client.feed(chunk):
            if self._client.framing is Framing.STARTUP:
                self._follow_startup(message)
            elif self._client.framing is Framing.TYPED:
                self._follow_request(message[:1])
            yield message

    def from_server(self, chunk: bytes) -> Iterator[bytes]:
        """The server's messages that are whole now, without those that are held back."""
        for message in self._server.feed(chunk):
            held = self._held_from is not None and self._answered >= self._held_from
            if self._server.framing is Framing.ONE_BYTE:
                self._follow_encryption(message)
            elif self._server.framing is Framing.TYPED and message[:1] == b"Z":
                self._answered += 1
            if not held:
                yield message

    def is_commit(self, message: bytes) -> bool:
        """Whether that message of the client's, just yielded, is or prepares a COMMIT."""
        if self._client.framing is not Framing.TYPED:
            return False
        if message[:1] == b"Q":
            return _COMMIT.match(message, 5) is not None
        if message[:1] == b"P":
            return _COMMIT.match(message, message.index(b"\0", 5) + 1) is not None
        return False

    def hold_answer(self, commit: bytes) -> None:
        """Checkout back from now on what the server answers to that COMMIT, just yielded."""
        if commit[:1] == b"Q":
            self._held_from = self._asked - 1
        else:
            self._commit_parsed = True

    @property
    def answer_is_held(self) -> bool:
        """Whether the whole answer to that COMMIT is here."""
        return self._held_from is not None and self._answered > self._held_from

    def _follow_startup(self, message: bytes) -> None:
        code = struct.unpack_from("!I", message, 4)[0]
        if code in {SSL_REQUEST, GSS_REQUEST}:
            self._server.framing = Framing.ONE_BYTE
        else:
            self._client.framing = Framing.TYPED
            self._asked += 1

    def _follow_encryption(self, answer: bytes) -> None:
        if answer == b"N":
            self._server.framing = Framing.TYPED
        else:  # nothing to be seen any more
            self._server.framing = self._client.framing = Framing.RAW

    def _follow_request(self, kind: bytes) -> None:
        if kind == b"E" and self._commit_parsed and self._held_from is None:
            self._held_from = self._asked
        if kind in SYNC_TYPES:
            self._asked += 1
