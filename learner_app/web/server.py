"""Serving the application in the foreground until a signal ends it."""

import signal
import socket
import threading
import warnings
from collections.abc import Callable
from types import FrameType

import uvicorn

from learner_app.errors import ServerError

BACKLOG = 128
SHUTDOWN_SECONDS = 5
"""How long requests under way may take to end after a signal."""


class Stopped(KeyboardInterrupt):
    """A signal asked us to end; of that kind, since asyncio swallows other BaseExceptions."""


_stop_requested = threading.Event()


def stop_on_signals() -> None:
    """Make SIGTERM and SIGINT end the program by an exception, so that clean-up runs.

    uvicorn handles both while it serves and raises them again afterwards.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        _stop_requested.set()
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)


def go_on() -> None:
    """Raise Stopped if a signal came whose exception was lost, as in a destructor."""
    if _stop_requested.is_set():
        raise Stopped


def open_socket(host: str, port: int) -> socket.socket:
    """Bind the address before anything else is started.

    Raises:
        ServerError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is explicit, and connections inherit it from
    # the listener. Without it each response waits for the acknowledgement of the one before.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # At once: two sockets that only bind can share an address.
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "no such port"
        raise ServerError(
            f"cannot serve on {host}:{port}: {reason}; see --host and --port"
        ) from None
    return listener


def serve(listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve ``learner_app.web.app`` on the socket; returns when a signal ended it."""
    from learner_app.web.app import app

    # The session login reminds of HTTPS at every sign-in; APP_ENV=production turns it on.
    warnings.filterwarnings("ignore", message="If running sessions in production")
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    _Server(config, on_ready).run(sockets=[listener])


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()
