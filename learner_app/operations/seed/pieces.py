"""The pieces of the seed: Italian texts written for this project, in ``texts/*.toml``."""

import tomllib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any

from learner_app.content.tables import ContentTable

TEXTS = Path(__file__).with_name("texts")
FIRST_DAY = datetime(2026, 9, 1, 7, 30, tzinfo=UTC)
SESSION_DISTANCE = timedelta(hours=17, minutes=41)
SPOKEN_WORDS_A_MINUTE = {"A2": 95, "B1": 110, "B2": 125, "C1": 140}
BITRATE_KBIT = 96


@dataclass(frozen=True)
class Piece:
    """A text with what follows from it."""

    text: dict[str, Any]
    owner: int
    """Number of the listening session that it was made for, from 0."""
    place: int
    """How many pieces were made for that session before it."""

    @cached_property
    def id(self) -> str:
        return f"content-{self.text['slug']}"

    @cached_property
    def generated_at(self) -> datetime:
        return session_start(self.owner) + timedelta(minutes=1 + 4 * self.place)

    @cached_property
    def words(self) -> int:
        return len(self.text["text"].split())

    @cached_property
    def duration(self) -> int:
        """Seconds, at the pace of its level."""
        return round(self.words * 60 / SPOKEN_WORDS_A_MINUTE[self.text["level"]])

    @cached_property
    def characteristics(self) -> dict[str, str]:
        keys = ("format", "genre", "difficulty")
        return {key: self.text[key] for key in keys} | {"template_id": self.template_id}

    @cached_property
    def template_id(self) -> str:
        return f"{self.text['format']}-{self.text['difficulty']}"

    def row(self) -> ContentTable:
        text = self.text
        return ContentTable(
            id=self.id,
            title=text["title"],
            description=text["description"],
            text_content=text["text"].strip(),
            audio_url=f"https://audio.example.com/it/{text['slug']}.mp3",
            audio_bitrate=BITRATE_KBIT,
            audio_size=self.duration * BITRATE_KBIT * 1000 // 8,
            format=text["format"],
            genre=text["genre"],
            sub_genre=text["sub_genre"],
            topic=text["topic"],
            template_id=self.template_id,
            template_version="1.2",
            difficulty=text["difficulty"],
            difficulty_score=Decimal(str(text["difficulty_score"])),
            estimated_comprehension_level=text["level"],
            duration=self.duration,
            word_count=self.words,
            model_parameters={"temperature": 0.7, "max_words": 280, "voice": "it-IT-Elsa"},
            generated_at=self.generated_at,
            generated_by="seed",
            session_id=session_id(self.owner),
            episode_number=text.get("episode"),
            series_id=text.get("series"),
            continuity_context=text.get("continuity"),
            locale="it-IT",
            quality_score=Decimal("0.90"),
            metadata={"source": "seed"},
            created_at=self.generated_at,
            updated_at=self.generated_at,
        )


def session_id(number: int) -> str:
    """Key of the listening session with that number."""
    return f"session-{number + 1:02}"


def session_start(number: int) -> datetime:
    """When it began; the sessions spread over a month."""
    return FIRST_DAY + number * SESSION_DISTANCE


def load_pieces() -> list[Piece]:
    """All pieces; a series belongs to one session, every other piece to one of its own."""
    texts = [
        text
        for file in sorted(TEXTS.glob("*.toml"))
        for text in tomllib.loads(file.read_text(encoding="utf-8"))["content"]
    ]
    owners: dict[str, int] = {}
    made: dict[int, int] = {}
    pieces = []
    for text in texts:
        owner = owners.setdefault(text.get("series", text["slug"]), len(owners))
        pieces.append(Piece(text, owner, made.get(owner, 0)))
        made[owner] = made.get(owner, 0) + 1
    return pieces
