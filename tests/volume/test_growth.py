"""Operations read as many blocks of a large database as of a tenth of it, or there is a reason.

Blocks instead of milliseconds: their number does not depend on the load of the machine.
"""

from collections.abc import AsyncIterator

import pytest

from learner_app.listening.event_scans import POPULAR, SCANS
from learner_app.testing.servers import TestServer
from tests import environment
from tests.volume.growth import Cost, load, measure_all, operations

pytestmark = pytest.mark.stress

EVENTS = 20_000 if environment.short else 200_000
TIMES = 10

COUNTS = "every row counts"
GROWS = {
    "behavioral_events.engagement_by": COUNTS,
    "like_engagement.count_by": COUNTS,
    "like_engagement.top_content": COUNTS,
    "count": COUNTS,
    "count, popular session": COUNTS,
    "count_by_type, popular content": COUNTS,
    "engagement_for_content, popular": COUNTS,
    "likes.count_likes, popular": COUNTS,
    "generation_status.claim_webhooks": "no index on due webhooks; max_age limits the jobs",
    "find_by_characteristics, recent": "only the index on the characteristics finds the first one",
    "list_for_session, popular, brief": "only the index on the session finds the first one",
}
"""Operations whose cost is that of the rows that they select, see docs/growth.md."""

LIMITED = POPULAR + SCANS[-1] // 5
"""Blocks of a list of a session or content that is just not popular, and of a scan by time."""

DEAD_ROWS = 300
"""Blocks by which the rolled-back calls of other operations may make one more expensive."""

SEARCHES = {
    "behavioral_events.find_by_characteristics",
    "behavioral_events.list_for_content",
    "find_by_characteristics, none",
    "list_for_session, popular",
    "recent_for_session, popular",
    "list_for_content, popular",
    "list newest, popular content",
    "list_for_content, popular, since",
    "find_by_characteristics, 4 %",
    "find_by_characteristics, 0.1 %",
    "find_by_characteristics, rare",
}


@pytest.fixture(scope="module")
async def costs(
    main_server: TestServer, learner_template: str
) -> AsyncIterator[tuple[dict[str, Cost], dict[str, Cost]]]:
    """The costs at the smaller and at the larger number of events."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DB_POOL_MAX", "1")
        measured = []
        for number in (EVENTS, EVENTS * TIMES):
            name = await main_server.create(learner_template)
            await load(main_server.url(name), number)
            measured.append(await measure_all(main_server.url(name)))
            await main_server.drop(name)
        yield measured[0], measured[1]


@pytest.mark.parametrize("name", sorted(operations().keys() - GROWS))
async def test_an_operation_reads_no_more_of_a_larger_database(
    costs: tuple[dict[str, Cost], dict[str, Cost]], name: str
):
    small, large = (cost[name].blocks for cost in costs)
    assert large <= (LIMITED if name in SEARCHES else 1.5 * small + DEAD_ROWS)


def test_the_exceptions_are_operations():
    assert operations().keys() >= GROWS.keys() | SEARCHES
