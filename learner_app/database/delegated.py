"""Attributes that belong to a part of an object."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Delegated(Generic[T]):
    """Attribute that reads and writes an attribute of a part, such as ``connections.url``."""

    def __init__(self, path: str) -> None:
        part, _, self._name = path.rpartition(".")
        self._part = attrgetter(part)

    def __get__(self, instance: Any, owner: Any = None) -> T:
        value: T = getattr(self._part(instance), self._name)
        return value

    def __set__(self, instance: Any, value: T) -> None:
        setattr(self._part(instance), self._name, value)
