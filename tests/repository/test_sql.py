"""Names for hand-written SQL."""

import pytest

from learner_app.accounts.tables import UserTable
from learner_app.content.tables import ContentTable
from learner_app.database.engine import DatabaseEngine
from learner_app.listening.rows import ListeningSession
from learner_app.listening.tables import ListeningSessionTable
from learner_app.repository.sql import SqlNames
from tests.content.factories import add_contents
from tests.generation.factories import add_sessions

c, s = SqlNames(ContentTable), SqlNames(ListeningSessionTable)


def test_columns_are_qualified_by_the_alias_or_the_table():
    assert s.id == f'{s}."id"'
    assert SqlNames(UserTable, "u").email == 'u."email"'
    assert s.fields(ListeningSession).startswith(f"{s.id}, {s.started_at}, ")
    assert s.unqualified.id == SqlNames(ListeningSessionTable, "s").unqualified.id == '"id"'
    assert str(SqlNames(UserTable, "u").unqualified) == str(SqlNames(UserTable, "u"))
    with pytest.raises(ValueError, match="nothing"):
        _ = s.nothing


async def test_a_column_in_a_subquery_does_not_bind_to_the_inner_table(db: DatabaseEngine):
    await add_sessions("a", "other")
    await add_contents("a", "b")
    # both tables have an id: unqualified, the condition would be true for every content
    sql = f"SELECT {c.id} FROM {c} WHERE EXISTS (SELECT FROM {s} WHERE {s.id} = {c.id})"
    assert [row["id"] for row in await db.fetch(sql)] == ["a"]


async def test_targets_of_writes_are_unqualified(db: DatabaseEngine):
    unqualified = s.unqualified
    insert = f"""
    INSERT INTO {s} ({unqualified.id}) VALUES ('s1') ON CONFLICT ({unqualified.id})
    DO UPDATE SET {unqualified.total_listening_time} = {s.total_listening_time} + 1
    RETURNING {s.total_listening_time}
    """
    assert [await db.fetchval(insert) for _ in range(3)] == [0, 1, 2]
