"""One transaction around an endpoint, committed before its response is sent.

Starlette: ``Route("/likes", transactional(like), methods=["POST"])``, or ``@transactional``.
FastAPI: ``@api.post("/likes", dependencies=[in_transaction])``.

An endpoint that raises undoes everything; one that returns a response, whatever its status, keeps
it. The body of a streaming response comes after the commit.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from fastapi import Depends

from learner_app.conf import DB
from learner_app.database.transaction import Transaction

P = ParamSpec("P")
T = TypeVar("T")


def transactional(endpoint: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The endpoint inside ``DB.transaction()``."""

    @wraps(endpoint)
    async def inside(*args: P.args, **kwargs: P.kwargs) -> T:
        async with DB.transaction():
            return await endpoint(*args, **kwargs)

    return inside


async def _transaction() -> AsyncIterator[Transaction]:
    async with DB.transaction() as transaction:
        yield transaction


in_transaction: Any = Depends(_transaction, scope="function")
"""FastAPI's default scope would commit after the response: too late to tell of a failure."""
