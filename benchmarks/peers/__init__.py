"""The contestants; a peer whose package is missing is left out with a line that says so."""

from __future__ import annotations

from importlib import import_module

from benchmarks.contestant import Contestant

BASELINE = "asyncpg pool"
"""Whose time is 1.00."""

_PLACES = (
    ("raw", "AsyncpgPool"),
    ("raw", "AsyncpgHeld"),
    ("ours", "Ours"),
    ("repositories", "OursRepositories"),
    ("ours", "OursPiccolo"),
    ("stock_piccolo", "StockPiccolo"),
    ("core", "SqlAlchemyCore"),
    ("orm", "SqlAlchemyOrm"),
    ("advanced", "AdvancedAlchemy"),
    ("tortoise_orm", "TortoiseOrm"),
    ("psycopg_pool", "PsycopgPool"),
)
_QUICK = 4


def contestants(*, quick: bool) -> tuple[list[Contestant], list[str]]:
    """Return the contestants, the baseline first, and a message for each that is missing."""
    found, missing = [], []
    for module, name in _PLACES[:_QUICK] if quick else _PLACES:
        try:
            found.append(getattr(import_module(f"{__name__}.{module}"), name)())
        except ImportError as error:
            missing.append(f"{name}: skipped, {error.name or error} is not installed")
    return found, missing
