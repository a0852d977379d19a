"""What the tests of listening share."""

import pytest

from learner_app.database.engine import DatabaseEngine
from tests.content.factories import add_contents
from tests.listening.factories import ensure_sessions


@pytest.fixture
async def heard(db: DatabaseEngine) -> None:
    """Two pieces and two sessions."""
    await add_contents("c1", "c2")
    await ensure_sessions("s1", "s2")
