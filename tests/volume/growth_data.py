"""Rows for measurements of growth: the same shapes at any number of events.

A few sessions, content items and characteristics have a fixed share of the events, as popular ones
do. Those of the operations in :mod:`tests.volume.operations` have the same rows at every size.
"""

import asyncpg

HOT = {
    "session over all time": "spread",
    "session within a short time": "burst",
    "content": "c0",
}
"""Sessions with a hundredth of the events, content with a fifth."""

FIXED_EVENTS = 1100
"""Number of events of the session ``thousand``."""

KEY = """
CREATE FUNCTION pg_temp.key(kind text, n bigint) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT lpad(to_hex(n), 8, '0') || '-' || kind || '000-7000-8000-' || lpad(to_hex(n), 12, '0')
$$
"""
"""Keys as long as those of the package, ascending."""

CONTENT = """
CREATE TEMP TABLE items AS
SELECT n, 'c' || n AS id, jsonb_build_object(
    'format', (ARRAY['narrative', 'podcast', 'educational'])[1 + n % 3],
    'genre', CASE n WHEN 999 THEN 'rare' WHEN 998 THEN 'unusual' ELSE 'genre' || n % 20 END,
    'difficulty', (ARRAY['lexical-heavy', 'discourse-heavy'])[1 + n % 2],
    'template_id', 't' || n % 50
) AS characteristics
FROM generate_series(0, 999 + {events} / 500) AS n;
ANALYZE items;
INSERT INTO content (id, title, text_content, audio_url, format, genre, template_id, difficulty,
                     duration, model_parameters, session_id, episode_number, series_id,
                     quality_score, generated_at)
SELECT id, 'Item ' || n, repeat('text ', 200), 'https://audio.example/' || n,
       characteristics ->> 'format', characteristics ->> 'genre',
       characteristics ->> 'template_id', characteristics ->> 'difficulty', 300, '{{}}',
       CASE WHEN n < 10 THEN 's' || n % 3 ELSE pg_temp.key('5', n % ({events} / 50)) END, n % 30,
       CASE WHEN n % 2 = 0 THEN 'series' || n % 200 END, 0.5,
       timestamptz '2026-01-01+00' + n * interval '1 hour'
FROM items
"""
SESSIONS = """
INSERT INTO sessions (id, content_ids, current_content_id, last_activity_at, started_at)
SELECT id, ARRAY['c' || n % 1000, 'c' || (n + 1) % 1000], 'c' || n % 1000,
       timestamptz '2026-01-01+00' + n * interval '100 seconds',
       timestamptz '2026-01-01+00' + n * interval '100 seconds'
FROM (
    SELECT 's' || n AS id, n FROM generate_series(0, 10) AS n
    UNION ALL SELECT pg_temp.key('5', n), n FROM generate_series(0, {events} / 50 + 10) AS n
    UNION ALL SELECT unnest(ARRAY['spread', 'burst', 'thousand', 'new']), {events} / 50
) AS all_sessions
"""
EVENTS = """
INSERT INTO behavioral_events (id, content_id, event_type, timestamp, playback_position,
                               session_id, content_characteristics, device_info, context)
SELECT pg_temp.key('e', number), id,
       (ARRAY['play', 'pause', 'skip-forward', 'complete', 'replay'])[1 + number % 5],
       timestamptz '2026-01-01+00' + number * interval '2 seconds', number % 300,
       CASE WHEN number % 100 = 7 THEN 'spread'
            WHEN number >= {events} / 2 AND number < {events} / 2 + {events} / 99 THEN 'burst'
            WHEN number >= 6000 AND number < 6000 + {fixed_events} * 100 / 99 THEN 'thousand'
            ELSE pg_temp.key('5', number / 500 * 10 + number % 10) END,
       CASE WHEN number < {events} * 9 / 10 THEN characteristics
            ELSE characteristics || '{{"recent": true}}' END,
       '{{"os": "android", "app": "2.4.1"}}', jsonb_build_object('n', number)
FROM (
    SELECT number, CASE
        WHEN number < 2000 AND number % 100 = 3 THEN 999
        WHEN number % 100 = 7 THEN 10 + number % 900
        WHEN hash % 1000 < 200 THEN 0
        WHEN hash % 1000 = 998 THEN 998
        ELSE 10 + (hash / 1000) % 980
    END AS n
    FROM (
        SELECT number, abs(hashint4(number / 25)::bigint) AS hash
        FROM generate_series(0, {events} - 1) AS number
    ) AS hashed
) AS numbered JOIN items USING (n)
"""
LIKES = """
INSERT INTO like_engagement (content_id, session_id, liked, liked_at, content_characteristics)
SELECT id, session_id, number % 10 > 0,
       timestamptz '2026-01-01+00' + number * interval '20 seconds', characteristics
FROM (
    SELECT number, CASE number % 5 WHEN 0 THEN 0 ELSE 10 + abs(hashint4(number)) % 980 END AS n,
           CASE WHEN number % 100 = 7 THEN 'spread'
                ELSE pg_temp.key('5', number % ({events} / 50)) END AS session_id
    FROM generate_series(0, {events} / 10) AS number
) AS numbered JOIN items USING (n) ON CONFLICT DO NOTHING
"""
REST = """
INSERT INTO learner_model_state (session_id, preference_weights, comprehension_level,
                                 content_type_preferences, last_updated)
SELECT id, '{{}}', 0.5, '{{}}', started_at FROM sessions;
INSERT INTO user_preferences (id, session_id, difficulty_preference)
SELECT id, id, 'beginner' FROM sessions;
INSERT INTO generation_status (generation_id, session_id, status, content_id, webhook_url,
                               webhook_sent, started_at, completed_at)
SELECT CASE WHEN age < 10 THEN 'g' || 100000 - age WHEN age = 102 THEN 'g99898'
            WHEN number < 5 THEN 'g' || number ELSE 'j' || number END,
       pg_temp.key('5', number % ({events} / 50)),
       CASE WHEN age > 100 THEN 'completed' WHEN number % 2 = 0 THEN 'generating'
            ELSE 'processing' END,
       'c' || number % 1000, CASE WHEN number % 2 = 0 THEN 'https://hook.example' END, age > 200,
       timestamptz '2026-01-01+00' + number * interval '1 minute',
       CASE WHEN age > 100 THEN timestamptz '2026-01-01+00' + number * interval '1 minute' END
FROM (
    SELECT number, {events} / 20 - number AS age
    FROM generate_series(0, {events} / 20 - 1) AS number
) AS numbered
"""
FIXED = """
INSERT INTO behavioral_events (id, content_id, event_type, timestamp, playback_position,
                               session_id, content_characteristics)
SELECT 'e' || lpad(number::text, 7, '0'), 'c' || 1 + number % 2,
       (ARRAY['play', 'pause', 'skip-forward', 'complete', 'replay'])[1 + number % 5],
       timestamptz '2026-01-01+00' + number * interval '10 seconds', number % 300,
       's' || number / 50, '{"genre": "genre8"}'
FROM generate_series(0, 399) AS number;
INSERT INTO like_engagement (content_id, session_id, liked, content_characteristics)
SELECT 'c' || n % 10, 's' || n / 10, true, '{"genre": "genre8"}' FROM generate_series(0, 49) AS n;
"""

INDEXES = """
SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition
FROM pg_index WHERE indrelid = 'behavioral_events'::regclass AND NOT indisprimary
"""
FOREIGN_KEYS = """
SELECT conname AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE conrelid = 'behavioral_events'::regclass AND contype = 'f'
"""


async def fill(connection: asyncpg.Connection, events: int) -> None:
    """Insert the events and the rows that they refer to, into an empty migrated database.

    The keys and indexes of the events are created afterwards, which takes a third of the time.
    """
    indexes = await connection.fetch(INDEXES)
    keys = await connection.fetch(FOREIGN_KEYS)
    for index in indexes:
        await connection.execute(f"DROP INDEX {index['name']}")
    for key in keys:
        await connection.execute(f"ALTER TABLE behavioral_events DROP CONSTRAINT {key['name']}")
    await connection.execute(KEY)
    for script in (CONTENT, SESSIONS, EVENTS, LIKES, REST):
        await connection.execute(script.format(events=events, fixed_events=FIXED_EVENTS))
    for key in keys:
        await connection.execute(
            f"ALTER TABLE behavioral_events ADD CONSTRAINT {key['name']} {key['definition']}"
        )
    for index in indexes:
        await connection.execute(index["definition"])
    await connection.execute(FIXED)
    await connection.execute("VACUUM ANALYZE")
