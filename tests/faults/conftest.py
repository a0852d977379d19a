"""Servers that a test may break, each started for that test alone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.debian import DEBIAN_15
from tests.environment import skip_outside_ci
from tests.faults.bench import measured
from tests.faults.cluster import Cluster, Replicated
from tests.faults.pgbouncer import PGBOUNCER, PgBouncer
from tests.faults.proxy import TcpProxy


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if measured:
        terminalreporter.section("faults: seconds from the begin or the end of the fault")
    for one in measured:
        terminalreporter.write_line(one.line())


@pytest.fixture(scope="session")
def soak_seconds(request: pytest.FixtureRequest) -> float | None:
    """How long to go on; None for a short round."""
    if not request.config.getoption("--soak"):
        return None
    return float(request.config.getoption("--soak-minutes")) * 60


@pytest.fixture(scope="session")
def debian_15() -> Path:
    if not (DEBIAN_15 / "bin" / "postgres").exists():
        skip_outside_ci("Debian's postgresql-15 is not installed")
    return DEBIAN_15


@pytest.fixture(scope="session")
def pgbouncer_program() -> Path:
    if not PGBOUNCER.exists():
        skip_outside_ci("Debian's pgbouncer is not installed")
    return PGBOUNCER


@pytest.fixture
def cluster(debian_15: Path) -> Iterator[Cluster]:
    with Cluster(debian_15) as cluster:
        yield cluster


@pytest.fixture
def proxy(cluster: Cluster) -> Iterator[TcpProxy]:
    with TcpProxy(cluster.address) as proxy:
        yield proxy


@pytest.fixture
def bouncer(cluster: Cluster, pgbouncer_program: Path) -> Iterator[PgBouncer]:
    with PgBouncer(cluster) as bouncer:
        yield bouncer


@pytest.fixture
def replicated(cluster: Cluster) -> Iterator[Replicated]:
    replica = cluster.replica()
    try:
        yield Replicated(cluster, replica)
    finally:
        replica.remove()
