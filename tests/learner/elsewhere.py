"""Calls outside the transaction of a test."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def elsewhere(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Await a call in a task with a new context, outside the transaction of the current task."""
    return await asyncio.create_task(call(), context=contextvars.Context())
