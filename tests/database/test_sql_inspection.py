"""Classification of statements by their text."""

import pytest

from learner_app.database.sql_inspection import controls_transaction, is_read, leaves_session_state


@pytest.mark.parametrize(
    ("sql", "reads", "leaves", "controls"),
    [
        ("SELECT 1", True, False, False),
        ('SELECT "a"."b" FROM "a" WHERE "a"."b" IN ($1, $2)', True, False, False),
        ("WITH x AS (SELECT 1) SELECT count(*) FROM x", True, False, False),
        ("WITH x AS (DELETE FROM a RETURNING *) SELECT * FROM x", False, False, False),
        ("SELECT 1; DELETE FROM a", False, False, False),
        ("SELECT * INTO b FROM a", False, False, False),
        ("SELECT * FROM a FOR UPDATE", False, False, False),
        ("SELECT pg_sleep(1), version(), random()", True, False, False),
        ("SELECT * FROM generate_series(1, 3)", True, False, False),
        ("SELECT i FROM unnest($1::int[]) WITH ORDINALITY AS item (i, n)", True, False, False),
        ("WITH touch AS (SELECT 1) SELECT touch() AS item", False, False, False),
        ("SELECT pg_notify('a', 'b')", False, False, False),
        ("SELECT pg_terminate_backend(1)", False, False, False),
        ("SELECT pg_advisory_xact_lock(1)", False, False, False),
        ("SELECT setval('a', 1)", False, False, False),
        ("SELECT lo_create(0)", False, False, False),
        ("SELECT nextval('a')", False, False, False),
        ("SELECT app.count(1)", False, False, False),
        ("SELECT app . count(1)", False, False, False),
        ("SELECT E'\\'' || evil('x')", False, False, False),
        ("SELECT E'\\'', set_config('a', 'b', false)", False, True, False),
        ("SELECT 'it''s', 'set_config('", True, False, False),
        ("EXPLAIN ANALYZE DELETE FROM a", False, False, False),
        ("UPDATE a SET b = 1", False, False, False),
        ("UPDATE pg_settings SET setting = '1'", False, True, False),
        ("CREATE TABLE pg_temp.a (b int)", False, True, False),
        ("CREATE TEMP TABLE a(); CREATE TEMP TABLE b() ON COMMIT DROP", False, True, False),
        ("EXPLAIN ANALYZE CREATE TEMP TABLE a AS SELECT 1", False, True, False),
        ('SELECT "set_config"($1, $2, false)', False, True, False),
        ("/* /* */ ' */ SET a = b; SELECT '", False, True, False),
        ("SELECT a$x$, touch() AS b$x$ FROM c", False, False, False),
        ("SELECT 1 --x\r, touch()", False, False, False),
        ("SELECT touch$min(1)", False, False, False),
        ("-- so\nSET a = b", False, True, False),
        ("/* so */ SET LOCAL a = b", False, False, False),
        ("CREATE OR REPLACE TEMP VIEW a AS SELECT 1", False, True, False),
        ("CREATE TEMP TABLE a (b int) ON COMMIT DROP", False, False, False),
        ("SELECT * INTO TEMP a FROM b", False, True, False),
        ("COMMIT", False, False, True),
        ("/* so */ rollback", False, False, True),
        ("ROLLBACK TO SAVEPOINT a", False, False, False),
        ("ROLLBACK WORK TO a", False, False, False),
        ("INSERT INTO a VALUES (1); COMMIT", False, False, True),
        ("SELECT 'commit'", True, False, False),
        ("END", False, False, True),
        ("PREPARE TRANSACTION 'a'", False, False, True),
    ],
)
def test_statements_are_classified(sql: str, reads: bool, leaves: bool, controls: bool):
    found = (is_read(sql), leaves_session_state(sql), controls_transaction(sql))
    assert found == (reads, leaves, controls)
