"""What Piccolo's own queries make of declared tables."""

from datetime import UTC, datetime

import pytest

from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.tables import LikeEngagementTable, ListeningSessionTable


@pytest.fixture
async def likes(db: DatabaseEngine) -> list[LikeEngagementTable]:
    """Two sessions and two pieces, all four combinations liked."""
    for number in "ab":
        await ContentTable.insert(
            ContentTable(
                id=f"content-{number}",
                title="t",
                text_content="t",
                audio_url="u",
                format="podcast",
                template_id="x",
                difficulty="lexical-heavy",
                duration=1,
                model_parameters={},
                session_id="s",
            )
        )
        await ListeningSessionTable.insert(ListeningSessionTable(id=f"session-{number}"))
    rows = [
        LikeEngagementTable(
            content_id=f"content-{content}",
            session_id=f"session-{session}",
            content_characteristics={},
        )
        for content in "ab"
        for session in "ab"
    ]
    await LikeEngagementTable.insert(*rows)
    return rows


async def test_composite_key_is_a_named_tuple(likes: list[LikeEngagementTable]):
    key = likes[0].row_key
    assert key == ("content-a", "session-a")
    assert key.session_id == "session-a"


async def test_save_hits_one_row(likes: list[LikeEngagementTable]):
    likes[0].liked = True
    await likes[0].save()
    liked = await LikeEngagementTable.select().where(LikeEngagementTable.liked.eq(True))
    assert [(row["content_id"], row["session_id"]) for row in liked] == [likes[0].row_key]


async def test_remove_and_refresh_hit_one_row(likes: list[LikeEngagementTable]):
    await LikeEngagementTable.update({LikeEngagementTable.liked: True}).where(
        LikeEngagementTable._meta.primary_key == likes[1].row_key
    )
    await likes[1].refresh()
    await likes[2].refresh()
    assert (likes[1].liked, likes[2].liked) == (True, False)
    await likes[0].remove()
    assert await LikeEngagementTable.count() == 3


async def test_incomplete_key_is_refused():
    with pytest.raises(ValueError, match="content_id"):
        _ = LikeEngagementTable._meta.primary_key == ("content-a",)


async def test_updated_at_moves_on_every_path(db: DatabaseEngine):
    table = ListeningSessionTable
    await table.insert(table(id="s"))

    async def moved() -> datetime:
        return (await table.select(table.updated_at).first())["updated_at"]

    times = [await moved()]
    await table.update({table.total_listening_time: 1}).where(table.id == "s")
    times.append(await moved())
    await table.raw("UPDATE sessions SET total_listening_time = 2, updated_at = 'epoch'")
    times.append(await moved())
    await table.insert(table(id="s")).on_conflict(
        target=table.id, action="DO UPDATE", values=[(table.total_listening_time, 3)]
    )
    times.append(await moved())
    assert times == sorted(set(times))


async def test_updated_at_can_be_given_on_insert(db: DatabaseEngine):
    table = ListeningSessionTable
    past = datetime(2020, 1, 1, tzinfo=UTC)
    await table.insert(table(id="s", updated_at=past))
    assert (await table.select(table.updated_at).first())["updated_at"] == past
