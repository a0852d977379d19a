"""A TCP proxy in front of PostgreSQL that breaks connections on command."""

import asyncio
import socket
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.faults.connection import Connection, Cut, DatabaseUrl, Rules
from tests.ports import LOCALHOST, free_port

CALL_SECONDS = 10.0
BACKLOG = 512
T = TypeVar("T")


class TcpProxy:
    """Listens on 127.0.0.1 at ``port``, the same for its whole life, while inside ``with``.

    It works on a thread of its own. Every method may be called from any thread and returns when
    it is in effect. A target that refuses to be connected to shows as a connection that is reset
    at once, for the proxy has accepted it by then: ``refuse`` is what a server that is down does.

    Args:
        target: host and port, or the path of a unix socket.
    """

    def __init__(self, target: DatabaseUrl) -> None:
        self.port = free_port()
        self._target = target
        self._rules = Rules()
        self._connections: set[Connection] = set()
        self._listener: socket.socket | None = None
        self._is_hole = self._loses = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="TcpProxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self.heal()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self.refuse()
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(CALL_SECONDS)
            self._loop.close()

    @property
    def connections(self) -> int:
        """Clients connected now, without those that a black hole has swallowed for ever."""
        return self._call(self._count())

    @property
    def commits_cut(self) -> int:
        """COMMITs cut so far, of both kinds."""
        return self._rules.cuts_made

    def heal(self) -> None:
        """Listen and forward without delay, arm no cut; what a black hole lost stays silent."""
        self._call(self._heal())

    def refuse(self) -> None:
        """Reset all connections and stop listening: connecting is refused."""
        self._call(self._refuse())

    def reset(self) -> None:
        """Reset all connections; new ones are served as before."""
        self._call(self._reset())

    def black_hole(self, *, resume: bool = False) -> None:
        """Pass no byte any more, answer no new connection, close none.

        Args:
            resume: ``heal`` lets the held bytes flow on, as after packet loss. Otherwise the
                connections of before and during the hole never move again; the server's side of
                them stays open, locks included, until ``reset``, ``refuse`` or the end.
        """
        self._call(self._black_hole(resume))

    def delay(self, seconds: float) -> None:
        """Deliver each chunk that arrives from now on so much later, in both directions."""
        self._call(self._arm(latency=seconds))

    def cut_before_commit(self, n: int = 1) -> None:
        """Let the next n COMMITs not reach the server: the client is reset, the server closed."""
        self._call(self._arm(cut=Cut.BEFORE, cuts_left=n))

    def cut_after_commit(self, n: int = 1) -> None:
        """Let the server do the next n COMMITs, but reset the client instead of the answer."""
        self._call(self._arm(cut=Cut.AFTER, cuts_left=n))

    def point_to(self, target: DatabaseUrl) -> None:
        """Connect new connections to another target; the present ones stay."""
        self._call(self._point_to(target))

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(CALL_SECONDS)

    async def _count(self) -> int:
        return sum(not connection.is_lost for connection in self._connections)

    async def _heal(self) -> None:
        self._is_hole = False
        self._rules.latency, self._rules.cuts_left = 0.0, 0
        for connection in self._connections:
            connection.resume()
        self._listen()

    async def _refuse(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        await self._reset()

    async def _reset(self) -> None:
        await asyncio.gather(*(connection.reset() for connection in self._connections))

    async def _black_hole(self, resume: bool) -> None:
        self._is_hole, self._loses = True, not resume
        for connection in self._connections:
            connection.hold(for_ever=self._loses)
        self._listen()

    async def _arm(self, **rules: Any) -> None:
        for name, value in rules.items():
            setattr(self._rules, name, value)

    async def _point_to(self, target: DatabaseUrl) -> None:
        self._target = target

    def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server((LOCALHOST, self.port), backlog=BACKLOG)
            self._listener.setblocking(False)
            self._loop.add_reader(self._listener, self._accept, self._listener)

    def _accept(self, listener: socket.socket) -> None:
        try:
            client, _ = listener.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        connection = Connection(client, self._target, self._rules)
        if self._is_hole:
            connection.hold(for_ever=self._loses)
        self._connections.add(connection)
        connection.start(self._connections.discard)
