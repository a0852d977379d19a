"""The proxy does what it says, between plain clients and a real server."""

import asyncio
import socket
import struct
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from learner_app.testing.servers import ROLE
from tests.faults.clients import LOST, Client, answers, client_of, insert, is_silent, rows
from tests.faults.cluster import Cluster
from tests.faults.processes import wait_until
from tests.faults.proxy import TcpProxy

# The programs of these tests themselves: in the long form only.
pytestmark = [pytest.mark.faults, pytest.mark.long]


class TestProxy:
    async def test_forwards_to_port_and_socket(self, cluster: Cluster) -> None:
        for target in (cluster.address, cluster.socket):
            with TcpProxy(target) as proxy:
                async with client_of(cluster.url(port=proxy.port)) as client:
                    many = await client.fetch("SELECT * FROM generate_series(1, 100000) AS n")
                    assert [row["n"] for row in many] == list(range(1, 100001))
                    assert proxy.connections == 1
                wait_until(lambda: proxy.connections == 0, "the client's end is seen")

    async def test_refuses_then_listens_again(self, cluster: Cluster, proxy: TcpProxy) -> None:
        url = cluster.url(port=proxy.port)
        async with client_of(url) as client:
            proxy.refuse()
            assert proxy.connections == 0
            with pytest.raises(LOST):
                await answers(client)
            with pytest.raises(ConnectionRefusedError):
                await asyncpg.connect(url)
        proxy.heal()
        async with client_of(url) as client:
            assert await answers(client)

    async def test_resets_what_is_there(self, cluster: Cluster, proxy: TcpProxy) -> None:
        url = cluster.url(port=proxy.port)
        async with client_of(url) as old:
            busy = asyncio.create_task(old.execute("SELECT pg_sleep(60)"))
            await asyncio.sleep(0.1)
            proxy.reset()
            with pytest.raises(LOST):
                await busy
            async with client_of(url) as new:
                assert await answers(new)

    async def test_reset_is_a_tcp_reset(self, proxy: TcpProxy) -> None:
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
            wait_until(lambda: proxy.connections == 1, "accepted")
            proxy.reset()
            with pytest.raises(ConnectionResetError):
                client.recv(1)

    async def test_black_hole_swallows_for_ever(self, cluster: Cluster, proxy: TcpProxy) -> None:
        url = cluster.url(port=proxy.port)
        async with client_of(url) as old:
            pid = old.get_server_pid()
            proxy.black_hole()
            assert await is_silent(old.execute("SELECT 1"))
            assert await is_silent(asyncpg.connect(url))
            proxy.heal()
            async with client_of(url) as new:
                assert await answers(new)
                assert proxy.connections == 1
            assert cluster.execute(f"SELECT state FROM pg_stat_activity WHERE pid = {pid}")

    async def test_black_hole_that_resumes(self, cluster: Cluster, proxy: TcpProxy) -> None:
        url = cluster.url(port=proxy.port)
        async with client_of(url) as old:
            proxy.black_hole(resume=True)
            waiting = asyncio.create_task(answers(old))
            joining = asyncio.create_task(asyncpg.connect(url))
            assert await is_silent(asyncio.wait([waiting, joining], return_when="FIRST_COMPLETED"))
            proxy.heal()
            assert await waiting
            assert await answers(old)
            async with asyncio.timeout(5):
                await (await joining).close()

    async def test_black_hole_hides_a_dead_server(self, cluster: Cluster, proxy: TcpProxy) -> None:
        async with client_of(cluster.url(port=proxy.port)) as client:
            proxy.black_hole(resume=True)
            cluster.kill()
            assert await is_silent(client.execute("SELECT 1"))
            proxy.heal()
            async with asyncio.timeout(5):
                while not client.is_closed():
                    await asyncio.sleep(0.01)

    async def test_delays_and_keeps_order(self, cluster: Cluster, proxy: TcpProxy) -> None:
        async with client_of(cluster.url(port=proxy.port)) as client:
            proxy.delay(0.1)
            start = time.monotonic()
            await client.execute("SELECT 1")
            assert 0.2 <= time.monotonic() - start < 1
            many = await client.fetch("SELECT * FROM generate_series(1, 100000) AS n")
            assert [row["n"] for row in many] == list(range(1, 100001))
            proxy.heal()
            start = time.monotonic()
            await client.execute("SELECT 1")
            assert time.monotonic() - start < 0.1

    async def test_points_to_another_server(self, cluster: Cluster, proxy: TcpProxy) -> None:
        with Cluster() as other:
            async with client_of(cluster.url(port=proxy.port)) as old:
                proxy.point_to(other.address)
                async with client_of(cluster.url(port=proxy.port)) as new:
                    ports = [await each.fetchval("SHOW port") for each in (old, new)]
            assert ports == [str(cluster.port), str(other.port)]

    async def test_leaves_nothing_running(self, cluster: Cluster) -> None:
        threads, files = threading.active_count(), _open_files()
        modes: list[Callable[[TcpProxy], None]] = [
            TcpProxy.heal,
            TcpProxy.black_hole,
            lambda proxy: proxy.delay(60),
        ]
        for mode in modes:
            with TcpProxy(cluster.address) as proxy:
                client = await asyncpg.connect(cluster.url(port=proxy.port))
                mode(proxy)
                busy = asyncio.create_task(client.execute("SELECT pg_sleep(60)"))
                await asyncio.sleep(0.05)
            with pytest.raises(LOST):
                await busy
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", proxy.port))
        assert threading.active_count() == threads
        assert _open_files() == files


class TestCommits:
    @pytest.mark.parametrize(
        "commit",
        [
            lambda client: client.execute("COMMIT"),
            lambda client: client.execute("\n commit;"),
            lambda client: client.fetch("COMMIT"),
        ],
        ids=["simple", "lower case", "prepared"],
    )
    @pytest.mark.parametrize("arrives", [False, True], ids=["before", "after"])
    async def test_is_cut(
        self,
        cluster: Cluster,
        proxy: TcpProxy,
        arrives: bool,
        commit: Callable[[Client], Awaitable[object]],
    ) -> None:
        async with client_of(cluster.url(port=proxy.port)) as client:
            (proxy.cut_after_commit if arrives else proxy.cut_before_commit)()
            with pytest.raises(LOST):
                await insert(client, commit)
        assert rows(cluster) == int(arrives)
        assert proxy.commits_cut == 1

    async def test_only_so_many(self, cluster: Cluster, proxy: TcpProxy) -> None:
        async def attempt() -> None:
            async with client_of(cluster.url(port=proxy.port)) as client:
                await insert(client, lambda client: client.execute("COMMIT"))

        proxy.cut_after_commit(2)
        for _ in range(2):
            with pytest.raises(LOST):
                await attempt()
        await attempt()
        assert (proxy.commits_cut, rows(cluster)) == (2, 3)

    async def test_other_statements_pass(self, cluster: Cluster, proxy: TcpProxy) -> None:
        proxy.cut_before_commit()
        async with client_of(cluster.url(port=proxy.port)) as client:
            await insert(client, lambda client: client.execute("ROLLBACK"))
            assert await client.fetchval("SELECT 'COMMIT'") == "COMMIT"
        assert (proxy.commits_cut, rows(cluster)) == (0, 0)

    @pytest.mark.parametrize("size", [1, 7, 1000], ids=["bytes", "pieces", "all at once"])
    def test_is_seen_however_it_is_sent(self, cluster: Cluster, proxy: TcpProxy, size: int) -> None:
        cluster.execute("CREATE TABLE word (id int); GRANT ALL ON word TO learner")
        proxy.cut_after_commit()
        names = f"user\0{ROLE}\0database\0learner_test\0\0".encode()
        stream = struct.pack("!II", 8 + len(names), 196608) + names
        for sql in ("BEGIN", "INSERT INTO word VALUES (1)", "COMMIT"):
            stream += b"Q" + struct.pack("!I", len(sql) + 5) + sql.encode() + b"\0"
        pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=5) as client:
            received = _exchange(client, pieces)
        assert b"INSERT" in received
        assert b"COMMIT" not in received
        assert rows(cluster) == 1


def _exchange(client: socket.socket, pieces: list[bytes]) -> bytes:
    """Send the pieces one by one, receive until the connection is reset."""
    received = b""
    with pytest.raises(ConnectionResetError):
        for piece in pieces:
            client.sendall(piece)
            time.sleep(0.002)
        while chunk := client.recv(65536):
            received += chunk
    return received


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))
