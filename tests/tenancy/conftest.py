"""The two roles of a database, for tests as the application role."""

from collections.abc import AsyncIterator

import pytest

from learner_app.testing.servers import OwnServer
from tests.operations.two_roles import TwoRoles


@pytest.fixture
async def migrated_two_roles(main_server: OwnServer) -> AsyncIterator[TwoRoles]:
    """A migrated database with an owner role and an application role."""
    if not isinstance(main_server, OwnServer):
        pytest.skip("roles are created on servers of the tests only")
    two_roles = TwoRoles(main_server)
    await two_roles.set_up()
    await two_roles.migrate()
    yield two_roles
    await two_roles.remove()
