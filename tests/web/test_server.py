"""Socket of ``learner up``: responses on a persistent connection are not delayed."""

import asyncio
import http.client
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
import uvicorn

from learner_app.web.server import open_socket, serve
from tests.product import Product

HOSTS = ["127.0.0.1", "::1", "localhost"]
DELAYED_ACK_SECONDS = 0.04
"""Delay of acknowledgements in Linux, for which Nagle's algorithm waits."""


async def two_packets(_scope: dict, _receive: object, send: object) -> None:
    """Send a response in three small segments: the head and two chunks."""
    if _scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"a", "more_body": True})
    await send({"type": "http.response.body", "body": b"b"})


@pytest.fixture(params=HOSTS)
def address(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    if request.param == "::1" and not socket.has_ipv6:
        pytest.skip("the machine has no IPv6")
    listener = open_socket(request.param, 0)
    config = uvicorn.Config(two_packets, log_level="warning", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield request.param, listener.getsockname()[1]
    server.should_exit = True
    thread.join()


def median_seconds(host: str, port: int, path: str = "/") -> float:
    connection = http.client.HTTPConnection(host, port)
    times = []
    for _ in range(15):
        started = time.perf_counter()
        connection.request("GET", path)
        connection.getresponse().read()
        times.append(time.perf_counter() - started)
    connection.close()
    return statistics.median(times)


def test_responses_do_not_wait_for_acknowledgements(address: tuple[str, int]):
    assert median_seconds(*address) < DELAYED_ACK_SECONDS / 2


@pytest.mark.parametrize("host", HOSTS)
def test_socket_names_its_protocol(host: str):
    with open_socket(host, 0) as listener:
        assert (listener.type, listener.proto) == (socket.SOCK_STREAM, socket.IPPROTO_TCP)
        with socket.create_connection(listener.getsockname()[:2]):
            accepted, _ = listener.accept()
            with accepted:
                assert accepted.proto == socket.IPPROTO_TCP


@pytest.mark.slow
@pytest.mark.long
def test_pages_of_learner_up_do_not_wait_for_acknowledgements(product: Product):
    product.start()
    place = urlsplit(product.address)
    assert median_seconds(place.hostname, place.port, "/admin/public/login/") < DELAYED_ACK_SECONDS


@pytest.mark.slow
def test_installed_uvloop_is_the_event_loop_of_the_server():
    """uvicorn chooses it; without it the loop of asyncio is used."""
    pytest.importorskip("uvloop")
    seen = []

    async def app(scope: dict, receive: object, send: object) -> None:
        seen.append(type(asyncio.get_running_loop()).__module__)
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "enough"})

    with open_socket("127.0.0.1", 0) as listener, pytest.raises(SystemExit):
        serve(app, listener, on_ready=lambda: None)
    assert seen == ["uvloop"]
