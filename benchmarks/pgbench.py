"""pgbench with the statements of a workload: the limit of the server and the network."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.data import NEW, Sizes
from benchmarks.process import NotInstalled
from benchmarks.server import Server

NAME = "pgbench"
MIN_TRANSACTIONS = 10
"""Per client and slice, so that the first one, which prepares the statements, counts little."""

TRANSACTIONS_PER_SECOND = re.compile(r"^tps = ([0-9.]+) \(without initial", re.MULTILINE)

EVENT = """
'content-1', 'play', '2026-07-01Z', 12.5, 4.1, 3.25, 'session-1',
'{"format": "podcast", "genre": "history", "difficulty": "lexical-heavy", "template_id": "t-1"}',
'{"os": "ios", "version": "17.1", "model": "phone", "screen": [390, 844]}', 'wifi',
'{"screen": "player", "speed": 1.25, "queue": {"length": 12, "position": 3}}'
"""
STATE = """
preference_weights = '{"narrative": 0.4, "podcast": 0.35, "educational": 0.25}',
content_type_preferences = '{"mystery": 0.7, "science": 0.2, "travel": 0.1}',
last_updated = now(), comprehension_level = 0.5
"""
LOCKED = "SELECT * FROM learner_model_state WHERE session_id = 'session-' || :session"
SCRIPTS = {
    "get": "SELECT * FROM content WHERE id = 'content-' || :content;",
    "list": """
        SELECT * FROM content WHERE format = 'podcast'
        ORDER BY generated_at DESC, id DESC LIMIT 50;
    """,
    "events": """
        SELECT * FROM behavioral_events WHERE session_id = 'session-' || :busy
        ORDER BY timestamp, id LIMIT 1000;
    """,
    "insert": f"""
        INSERT INTO behavioral_events (id, content_id, event_type, timestamp, playback_position,
            playback_position_percent, duration, session_id, content_characteristics, device_info,
            network_type, context)
        VALUES ('{NEW}{NAME}-' || :unique, {EVENT}) RETURNING *;
    """,
    "update": f"""
        UPDATE learner_model_state SET data_points = :content, {STATE}
        WHERE session_id = 'session-' || :session RETURNING *;
    """,
    "fold": f"""
        BEGIN;
        {LOCKED} FOR NO KEY UPDATE;
        UPDATE learner_model_state SET data_points = :content, last_updated = now()
        WHERE session_id = 'session-' || :session RETURNING *;
        COMMIT;
    """,
    "like": """
        INSERT INTO like_engagement
            (content_id, session_id, liked, liked_at, reaction_type, content_characteristics)
        VALUES ('content-' || :content, 'session-' || :session, true, now(), 'like',
            '{"format": "podcast", "genre": "history", "difficulty": "lexical-heavy"}')
        ON CONFLICT (content_id, session_id) DO UPDATE SET liked = true, unliked_at = NULL
        RETURNING *;
    """,
    "transaction": """
        BEGIN;
        SELECT * FROM content WHERE id = 'content-' || :content;
        UPDATE content SET duration = :busy WHERE id = 'content-' || :content RETURNING *;
        COMMIT;
    """,
}


def _variables(sizes: Sizes) -> str:
    """Return meta-commands that set the variables of a script to random numbers."""
    limits = {
        "content": sizes.contents,
        "session": sizes.sessions,
        "busy": sizes.sessions_with_events,
        "unique": 10**15,
    }
    return "".join(f"\\set {name} random(1, {limit})\n" for name, limit in limits.items())


class PgBench:
    """Contestant whose slices are runs of pgbench. It does not decode what it receives."""

    name = NAME
    title = NAME
    workloads = tuple(SCRIPTS)
    packages: Mapping[str, str] = {}

    def __init__(self, server: Server, sizes: Sizes, folder: Path) -> None:
        program = server.programs / "bin" / NAME
        if not program.exists():
            raise NotInstalled(NAME)
        address = server.address
        self._command = [
            *(str(program), "--no-vacuum", "--protocol=prepared", "--jobs=1"),
            *("-h", address.host, "-p", str(address.port), "-U", address.user),
        ]
        self._database = address.database
        self._folder = folder
        for name, script in SCRIPTS.items():
            (folder / name).write_text(_variables(sizes) + script)

    def ask(self, command: str, **arguments: Any) -> Any:
        """Return the seconds that the operations of a slice take, without CPU time."""
        return self._slice(**arguments) if command == "slice" else {}

    def _slice(self, workload: str, tasks: int, operations: int) -> dict[str, float]:
        transactions = max(MIN_TRANSACTIONS, operations // tasks)
        options = [f"--file={self._folder / workload}", f"-c{tasks}", f"-t{transactions}"]
        run = subprocess.run(
            [*self._command, *options, self._database], capture_output=True, text=True, check=False
        )
        found = TRANSACTIONS_PER_SECOND.search(run.stdout)
        if run.returncode or found is None:
            raise RuntimeError(f"pgbench, {workload}: {run.stderr}")
        return {"wall": operations / float(found[1])}

    def stop(self) -> None:
        """Do nothing, since every run has ended."""
