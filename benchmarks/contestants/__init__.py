"""The contestants by name. Each runs in a process of its own."""

from __future__ import annotations

from importlib import import_module

from benchmarks.contestants.base import Contestant

BASELINE = "asyncpg"
"""Contestant whose time is 1.00."""

COPY = "copy"
OURS = "ours"

_CLASSES = {
    BASELINE: ("asyncpg_pool", "AsyncpgPool"),
    COPY: ("asyncpg_pool", "AsyncpgCopy"),
    OURS: ("ours", "Ours"),
    "core": ("sqlalchemy_core", "SqlAlchemyCore"),
    "orm": ("sqlalchemy_orm", "SqlAlchemyOrm"),
    "advanced_alchemy": ("advanced_alchemy", "AdvancedAlchemy"),
    "tortoise": ("tortoise", "TortoiseOrm"),
    "piccolo": ("piccolo", "Piccolo"),
    "django": ("django_orm", "DjangoOrm"),
}
NAMES = tuple(_CLASSES)


def contestant_class(name: str) -> type[Contestant]:
    """Import and return a contestant.

    Args:
        name: one of NAMES. ``ours@FOLDER`` is the package in another checkout.

    Raises:
        ImportError: its library is not installed.
    """
    module, class_name = _CLASSES[name.partition("@")[0]]
    found: type[Contestant] = getattr(import_module(f"{__name__}.{module}"), class_name)
    return found
