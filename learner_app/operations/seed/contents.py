"""Example contents: Italian texts written for this project, in ``texts/*.toml``."""

import tomllib
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from learner_app.content.rows import ContentCreate

TEXTS = Path(__file__).with_name("texts")
FIRST_SESSION = datetime(2026, 9, 1, 7, 30, tzinfo=UTC)
TIME_BETWEEN_SESSIONS = timedelta(hours=17, minutes=41)
SPOKEN_WORDS_PER_MINUTE = {"A2": 95, "B1": 110, "B2": 125, "C1": 140}
KBIT_PER_SECOND = 96
TEXT_FIELDS = ("title", "description", "format", "genre", "sub_genre", "topic", "difficulty")


class SeedContent(NamedTuple):
    """Example content and the listening session that it was generated for."""

    new: ContentCreate
    session_number: int
    """Number of the listening session, from 0."""
    place: int
    """Number of contents generated for that session before this one."""


def session_id(number: int) -> str:
    """Return the key of the listening session with that number."""
    return f"session-{number + 1:02}"


def session_start(number: int) -> datetime:
    """Return the start of the listening session with that number, in September 2026."""
    return FIRST_SESSION + number * TIME_BETWEEN_SESSIONS


def load_contents() -> list[SeedContent]:
    """Return all example contents, a series for one session, any other content for its own."""
    sessions: dict[str, int] = {}
    places: Counter[int] = Counter()
    contents = []
    for file in sorted(TEXTS.glob("*.toml")):
        for text in tomllib.loads(file.read_text(encoding="utf-8"))["content"]:
            number = sessions.setdefault(text.get("series", text["slug"]), len(sessions))
            contents.append(
                SeedContent(_content(text, number, places[number]), number, places[number])
            )
            places[number] += 1
    return contents


def _content(text: dict[str, Any], number: int, place: int) -> ContentCreate:
    words = len(text["text"].split())
    seconds = round(words * 60 / SPOKEN_WORDS_PER_MINUTE[text["level"]])
    return ContentCreate(
        **{field: text[field] for field in TEXT_FIELDS},
        id=f"content-{text['slug']}",
        text_content=text["text"].strip(),
        audio_url=f"https://audio.example.com/it/{text['slug']}.mp3",
        audio_bitrate=KBIT_PER_SECOND,
        audio_size=seconds * KBIT_PER_SECOND * 1000 // 8,
        template_id=f"{text['format']}-{text['difficulty']}",
        template_version="1.2",
        difficulty_score=Decimal(str(text["difficulty_score"])),
        estimated_comprehension_level=text["level"],
        duration=seconds,
        word_count=words,
        model_parameters={"temperature": 0.7, "max_words": 280, "voice": "it-IT-Elsa"},
        generated_at=session_start(number) + timedelta(minutes=1 + 4 * place),
        generated_by="seed",
        session_id=session_id(number),
        episode_number=text.get("episode"),
        series_id=text.get("series"),
        continuity_context=text.get("continuity"),
        locale="it-IT",
        quality_score=Decimal("0.90"),
        metadata={"source": "seed"},
    )
