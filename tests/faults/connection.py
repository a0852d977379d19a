"""One connection through the proxy. Everything here happens on the proxy's thread."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import NoReturn

from tests.faults.messages import Conversation

DatabaseUrl = tuple[str, int] | Path
CHUNK_BYTES = 65536
CHUNKS_UNDER_WAY = 256
RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class Cut(Enum):
    """Where a COMMIT is lost: on its way to the server, or its answer on the way back."""

    BEFORE = auto()
    AFTER = auto()


@dataclass
class Rules:
    """What the proxy does to all connections."""

    latency: float = 0.0
    cut: Cut = Cut.BEFORE
    cuts_left: int = 0
    cuts_made: int = 0

    def take_cut(self) -> Cut | None:
        """What to do to the COMMIT that has just come by."""
        if not self.cuts_left:
            return None
        self.cuts_left -= 1
        return self.cut


class End(Enum):
    """Why nothing comes after this in one direction."""

    CLOSED = auto()
    RESET = auto()
    CUT = auto()


class _OverError(Exception):
    """Ends both directions."""


Lane = asyncio.Queue[tuple[float, bytes | End]]


class Connection:
    """Forwards between a client and the target once started, until one of them closes."""

    def __init__(self, client: socket.socket, target: DatabaseUrl, rules: Rules) -> None:
        self.is_lost = False
        self._target = target
        self._rules = rules
        self._talk = Conversation()
        self._client = client
        self._server: socket.socket | None = None
        self._resets_client = self._resets_server = True
        self._loop = asyncio.get_running_loop()
        self._open = asyncio.Event()
        self._open.set()
        self._task: asyncio.Task[None] | None = None
        _prepare(client)

    def start(self, when_done: Callable[["Connection"], None]) -> None:
        self._task = self._loop.create_task(self._run())
        self._task.add_done_callback(lambda _: when_done(self))

    def hold(self, *, for_ever: bool) -> None:
        """Let no byte pass from now on, nor the news that one side has closed."""
        self._open.clear()
        self.is_lost = self.is_lost or for_ever

    def resume(self) -> None:
        if not self.is_lost:
            self._open.set()

    async def reset(self) -> None:
        """Reset both sides; returns when that is done."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        self._close()  # a task cancelled before its first step has not done it

    async def _run(self) -> None:
        to_server: Lane = asyncio.Queue(CHUNKS_UNDER_WAY)
        to_client: Lane = asyncio.Queue(CHUNKS_UNDER_WAY)
        try:
            await self._open.wait()
            self._server = await _connect(self._target)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._receive(self._client, self._from_client, to_server))
                group.create_task(self._receive(self._server, self._from_server, to_client))
                group.create_task(self._send(to_server, self._server))
                group.create_task(self._send(to_client, self._client))
        except* (OSError, _OverError):
            pass
        finally:
            self._close()

    async def _receive(
        self, source: socket.socket, translate: Callable[[bytes], list[bytes | End]], lane: Lane
    ) -> None:
        """Read until the end and put on the lane what is to be delivered."""
        while True:
            try:
                chunk = await self._loop.sock_recv(source, CHUNK_BYTES)
                items = translate(chunk) if chunk else [End.CLOSED]
            except OSError:
                items = [End.RESET]
            due = self._loop.time() + self._rules.latency
            for item in items:
                await lane.put((due, item))
                if isinstance(item, End):
                    return

    async def _send(self, lane: Lane, sink: socket.socket) -> None:
        while True:
            due, item = await lane.get()
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            await self._open.wait()
            if isinstance(item, End):
                self._end(item)
            await self._loop.sock_sendall(sink, item)

    def _from_client(self, chunk: bytes) -> list[bytes | End]:
        passed = bytearray()
        for message in self._talk.from_client(chunk):
            cut = self._rules.take_cut() if self._talk.is_commit(message) else None
            if cut is Cut.BEFORE:
                return [bytes(passed), End.CUT]
            if cut is Cut.AFTER:
                self._talk.hold_answer(message)
            passed += message
        return [bytes(passed)]

    def _from_server(self, chunk: bytes) -> list[bytes | End]:
        items: list[bytes | End] = [b"".join(self._talk.from_server(chunk))]
        return [*items, End.CUT] if self._talk.answer_is_held else items

    def _end(self, how: End) -> NoReturn:
        self._resets_client = how is not End.CLOSED
        self._resets_server = how is End.RESET
        self._rules.cuts_made += how is End.CUT
        raise _OverError

    def _close(self) -> None:
        _close(self._client, reset=self._resets_client)
        if self._server is not None:
            _close(self._server, reset=self._resets_server)


async def _connect(target: DatabaseUrl) -> socket.socket:
    address = str(target) if isinstance(target, Path) else target
    server = socket.socket(socket.AF_UNIX if isinstance(target, Path) else socket.AF_INET)
    _prepare(server)
    try:
        await asyncio.get_running_loop().sock_connect(server, address)
    except BaseException:
        server.close()
        raise
    return server


def _prepare(connected: socket.socket) -> None:
    connected.setblocking(False)
    if connected.family != socket.AF_UNIX:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _close(connected: socket.socket, *, reset: bool) -> None:
    if reset and connected.fileno() >= 0:
        with contextlib.suppress(OSError):
            connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    connected.close()
