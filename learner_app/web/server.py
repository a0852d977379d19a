"""HTTP server in the foreground that a signal stops."""

import signal
import socket
import threading
import warnings
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from learner_app.errors import AddressUnavailable

BACKLOG = 128
SHUTDOWN_SECONDS = 5
"""Time limit for the requests that run when a signal arrives."""


class Stopped(KeyboardInterrupt):
    """Request to stop the program, sent by a signal.

    A KeyboardInterrupt, because asyncio stores or logs most other exceptions of a signal handler
    instead of raising them.
    """


_stop_requested = threading.Event()


def stop_on_signals() -> None:
    """Make SIGTERM, SIGINT and SIGHUP raise :class:`Stopped`, so that clean-up code runs.

    uvicorn handles SIGTERM and SIGINT itself while it serves and raises them again afterwards.
    """

    def stop(_number: int, _frame: FrameType | None) -> None:
        _stop_requested.set()
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stop)


def raise_if_stopped() -> None:
    """Raise Stopped if a signal arrived and Python ignored its exception.

    Python ignores exceptions in destructors and weak reference callbacks.
    """
    if _stop_requested.is_set():
        raise Stopped


def open_socket(host: str, port: int) -> socket.socket:
    """Return a listening socket, bound before any other part of the program starts.

    Raises:
        AddressUnavailable: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio sets TCP_NODELAY only where the protocol is explicit, and connections inherit it from
    # the listener. Without it each response waits until the client has acknowledged the previous.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        # Listen immediately: with SO_REUSEADDR two sockets can bind one port until one listens.
        listener.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listener.close()
        reason = error.strerror if isinstance(error, OSError) else "no such port"
        raise AddressUnavailable(
            f"cannot serve on {host}:{port}: {reason}: choose another --host or --port"
        ) from None
    return listener


def serve(app: ASGIApp, listener: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve the application on the socket until a signal arrives."""
    # piccolo-api warns at every sign-in without HTTPS, which APP_ENV=production requires.
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
