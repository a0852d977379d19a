"""Databases with two roles, on the embedded server and on PostgreSQL 15."""

from collections.abc import AsyncIterator

import pytest

from learner_app.testing.servers import OwnServer, TestServer
from tests.operations.two_roles import TwoRoles


@pytest.fixture
async def two_roles(any_server: TestServer) -> AsyncIterator[TwoRoles]:
    """Names of roles and a database that do not exist yet."""
    if not isinstance(any_server, OwnServer):
        pytest.skip("only the superuser of a server of the tests may create roles")
    names = TwoRoles(any_server)
    yield names
    await names.remove()


@pytest.fixture
async def separated(two_roles: TwoRoles) -> TwoRoles:
    """A migrated database with both roles."""
    await two_roles.set_up()
    await two_roles.migrate()
    return two_roles
