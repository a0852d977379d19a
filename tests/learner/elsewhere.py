"""Work beside the transaction of a test."""

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def elsewhere(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """As of a task that takes no part in the transaction of this one."""
    return await asyncio.create_task(call(), context=contextvars.Context())
