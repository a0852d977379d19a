"""The benchmark's tables as SQLAlchemy has them."""

from datetime import datetime

from sqlalchemy import BigInteger, DateTime, Text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    type_annotation_map = {str: Text, datetime: DateTime(timezone=True)}  # noqa: RUF012


class Item(Base):
    __tablename__ = "bench_item"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    amount: Mapped[int]
    created_at: Mapped[datetime]


class New(Base):
    __tablename__ = "bench_new"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    name: Mapped[str]
    amount: Mapped[int]


class Content(Base):
    __tablename__ = "content"

    id: Mapped[str] = mapped_column(primary_key=True)
    title: Mapped[str]
    text_content: Mapped[str]
    audio_url: Mapped[str]
    audio_size: Mapped[int] = mapped_column(BigInteger)
    format: Mapped[str]
    genre: Mapped[str]
    difficulty: Mapped[str]
    duration: Mapped[int]
    word_count: Mapped[int]
    language: Mapped[str]
    generated_at: Mapped[datetime]
