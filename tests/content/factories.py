"""Content for tests."""

from typing import Any

from learner_app.content.repositories import ContentRepository
from learner_app.content.rows import Content, ContentCreate


def new_content(content_id: str = "c1", **fields: Any) -> ContentCreate:
    given: dict[str, Any] = {
        "id": content_id,
        "title": "Il faro",
        "text_content": "C'era una volta un faro.",
        "audio_url": "https://audio.example/c1.mp3",
        "format": "narrative",
        "genre": "mystery",
        "template_id": "t1",
        "difficulty": "lexical-heavy",
        "duration": 300,
        "model_parameters": {"model": "m"},
        "session_id": "s1",
    }
    return ContentCreate(**{**given, **fields})


async def add_contents(*ids: str, **fields: Any) -> list[Content]:
    return await ContentRepository().add_many([new_content(one, **fields) for one in ids])
