"""Cluster, replica and pooler are what they say, seen by plain clients."""

import asyncio
import subprocess
import threading
from pathlib import Path

import asyncpg
import pytest

from tests.faults.clients import LOST, answers, client_of, insert, rows
from tests.faults.cluster import Cluster, Replicated
from tests.faults.pgbouncer import PgBouncer
from tests.faults.processes import wait_until
from tests.faults.proxy import TcpProxy

# The programs of these tests themselves: in the long form only.
pytestmark = [pytest.mark.faults, pytest.mark.long]


class TestCluster:
    async def test_kill_keeps_what_was_acknowledged(self, cluster: Cluster) -> None:
        cluster.execute("CREATE TABLE word (id int); GRANT ALL ON word TO learner")
        acknowledged = 0
        async with client_of(cluster.url()) as client:
            killer = threading.Timer(0.3, cluster.kill)
            killer.start()
            with pytest.raises(LOST):
                while True:
                    await client.execute("INSERT INTO word VALUES (1)")
                    acknowledged += 1
            killer.join()
        assert not cluster.is_running
        with pytest.raises(ConnectionRefusedError):
            await asyncpg.connect(cluster.url())
        cluster.start()
        assert 0 < acknowledged <= rows(cluster) <= acknowledged + 1

    async def test_restart_ends_sessions(self, cluster: Cluster) -> None:
        async with client_of(cluster.url()) as client:
            cluster.restart()
            with pytest.raises((asyncpg.AdminShutdownError, *LOST)):
                await answers(client)
        assert cluster.is_running

    async def test_ordinary_role_owns_its_databases(self, cluster: Cluster) -> None:
        cluster.create_database("other_test")
        async with client_of(cluster.url("other_test")) as client:
            await client.execute("CREATE TABLE word (id int)")
            assert not await client.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = user")
            assert cluster.terminate_backends("other_test") == 1
            with pytest.raises((asyncpg.AdminShutdownError, *LOST)):
                await answers(client)

    async def test_asks_for_the_password(self, debian_15: Path) -> None:
        with Cluster(debian_15, password="o'ne /@ word") as cluster:
            async with client_of(cluster.url()) as client:
                assert await answers(client)
            with pytest.raises(asyncpg.InvalidPasswordError):
                await asyncpg.connect(cluster.url(), password="another")

    async def test_error_has_the_servers_words(self, cluster: Cluster) -> None:
        with pytest.raises(RuntimeError, match='relation "nothing" does not exist'):
            cluster.execute("SELECT * FROM nothing")


class TestReplica:
    def test_commits_only_together(self, replicated: Replicated) -> None:
        primary, replica = replicated
        primary.execute("CREATE TABLE word (id int)")
        replica.stop()
        with pytest.raises(subprocess.TimeoutExpired):
            primary.execute("INSERT INTO word VALUES (1)", seconds=0.5)
        replica.start()
        primary.execute("INSERT INTO word VALUES (2)")
        wait_until(lambda: rows(replica) == rows(primary), "the replica has shown all")

    def test_takes_over_from_a_killed_primary(self, replicated: Replicated) -> None:
        primary, replica = replicated
        primary.execute("CREATE TABLE word AS SELECT 1 AS id")
        primary.kill()
        assert replica.is_standby
        replica.promote()
        replica.execute("INSERT INTO word VALUES (2)")
        assert rows(replica) == 2

    async def test_demoted_primary_only_reads(self, replicated: Replicated) -> None:
        primary, replica = replicated
        primary.execute("CREATE TABLE word AS SELECT 1 AS id; GRANT ALL ON word TO learner")
        primary.demote(serve=False)
        replica.promote()
        primary.follow(replica)
        primary.start()
        async with client_of(primary.url()) as client:
            assert await client.fetchval("SELECT count(*) FROM word") == 1
            with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
                await client.execute("INSERT INTO word VALUES (2)")
        replica.execute("INSERT INTO word VALUES (2)")
        wait_until(lambda: rows(primary) == 2, "the old primary follows the new one")


class TestPgBouncer:
    async def test_pools_transactions(self, bouncer: PgBouncer) -> None:
        clients = [await asyncpg.connect(bouncer.url, statement_cache_size=0) for _ in range(40)]
        pids = await asyncio.gather(
            *(client.fetchval("SELECT pg_backend_pid() FROM pg_sleep(0.02)") for client in clients)
        )
        assert len(set(pids)) == 5
        assert "|transaction" in bouncer.execute_admin("SHOW POOLS")
        for client in clients:
            client.terminate()

    async def test_refuses_startup_parameters(self, bouncer: PgBouncer) -> None:
        with pytest.raises(asyncpg.ProtocolViolationError, match="unsupported startup parameter"):
            await asyncpg.connect(bouncer.url, server_settings={"lock_timeout": "1"})

    async def test_comes_back(self, bouncer: PgBouncer) -> None:
        for end in (bouncer.restart, bouncer.kill):
            async with client_of(bouncer.url, statement_cache_size=0) as client:
                end()
                with pytest.raises((asyncpg.PostgresError, *LOST)):
                    await answers(client)
        assert not bouncer.is_running
        bouncer.start()
        async with client_of(bouncer.url, statement_cache_size=0) as client:
            assert await answers(client)

    @pytest.mark.usefixtures("pgbouncer_program")
    async def test_with_password_behind_a_proxy(self, debian_15: Path) -> None:
        with (
            Cluster(debian_15, password="one word") as cluster,
            TcpProxy(cluster.address) as proxy,
            PgBouncer(cluster, server_port=proxy.port) as bouncer,
        ):
            async with client_of(bouncer.url, statement_cache_size=0) as client:
                assert await answers(client)
                proxy.cut_after_commit()
                with pytest.raises((asyncpg.PostgresError, *LOST)):
                    await insert(client, lambda client: client.execute("COMMIT"))
            assert rows(cluster) == 1
            with pytest.raises(asyncpg.ProtocolViolationError, match="SASL authentication failed"):
                await asyncpg.connect(bouncer.url, password="another")
