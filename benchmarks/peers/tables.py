"""The benchmark's tables as Piccolo has them, bound to one engine or another."""

from __future__ import annotations

from typing import Any, NamedTuple

from piccolo.columns import BigInt, BigSerial, Integer, Text, Timestamptz, Varchar
from piccolo.engine import Engine
from piccolo.table import Table

from learner_app.content.tables import ContentTable
from learner_app.listening.tables import BehavioralEventTable


class Tables(NamedTuple):
    """Classes of Piccolo's, untyped as these are made at run time."""

    item: Any
    new: Any
    content: Any
    piece: Any
    """All 34 columns of ``content``."""
    event: Any


def tables_on(engine: Engine[Any]) -> Tables:
    """Piccolo's table classes for the engine."""

    class Item(Table, tablename="bench_item", db=engine):
        id = BigSerial(primary_key=True)
        name = Text()
        amount = Integer()
        created_at = Timestamptz()

    class New(Table, tablename="bench_new", db=engine):
        id = BigSerial(primary_key=True)
        name = Text()
        amount = Integer()

    class Content(Table, tablename="content", db=engine):
        id = Varchar(primary_key=True)
        title = Varchar()
        text_content = Text()
        audio_url = Varchar()
        audio_size = BigInt()
        format = Varchar()
        genre = Varchar()
        difficulty = Varchar()
        duration = Integer()
        word_count = Integer()
        language = Varchar()
        generated_at = Timestamptz()

    class Piece(ContentTable, tablename="content", db=engine):
        pass

    class Event(BehavioralEventTable, tablename="behavioral_events", db=engine):
        pass

    return Tables(Item, New, Content, Piece, Event)
