"""Citus: a coordinator and two workers, with the tenancy tables distributed over them."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.debian import DEBIAN_15
from tests.faults.cluster import DATABASE, Cluster
from tests.ports import LOCALHOST

ARCHIVE = Path(__file__).parents[3] / "shared" / "citus" / "citus-15.tar.xz"
"""Citus for Debian's PostgreSQL 15, beside the checkout."""

LIBRARY = DEBIAN_15 / "lib" / "citus.so"
OPTIONS = {"shared_preload_libraries": "citus", "citus.node_conninfo": "sslmode=disable"}
WORKERS = 2


class CitusCluster:
    """Three clusters of PostgreSQL with Citus; services connect to the coordinator."""

    def __init__(self, programs: Path) -> None:
        self.coordinator, *self.workers = [
            Cluster(programs, options=OPTIONS) for _ in range(1 + WORKERS)
        ]
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for node in (self.coordinator, *self.workers):
                stack.enter_context(node)
                node.execute("CREATE EXTENSION citus")
            self._stack = stack.pop_all()
        add = "SELECT citus_set_coordinator_host('{}', {})"
        self.coordinator.execute(add.format(LOCALHOST, self.coordinator.port))
        for worker in self.workers:
            self.coordinator.execute(f"SELECT citus_add_node('{LOCALHOST}', {worker.port})")
        # SET LOCAL in a transaction also reaches the workers, where the policies are evaluated.
        # Triggers on distributed tables are allowed, since those of the tables read no other row.
        for setting in ("propagate_set_commands = 'local'", "enable_unsafe_triggers = on"):
            self.coordinator.execute(f"ALTER ROLE learner SET citus.{setting}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def url(self) -> str:
        """The URL of the coordinator."""
        return self.coordinator.url(DATABASE)

    def distribute(self) -> None:
        """Distribute the members by tenant; the tables they refer to are copied to all nodes."""
        for statement in (
            "SELECT create_reference_table('users')",
            "SELECT create_reference_table('tenants')",
            "SELECT create_distributed_table('tenant_members', 'tenant_id')",
        ):
            self.coordinator.execute(f"SET citus.enable_unsafe_triggers = on; {statement}")
