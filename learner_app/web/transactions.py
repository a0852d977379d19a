"""Transaction around an endpoint, committed before the response is sent.

Starlette: ``Route("/likes", transactional(like), methods=["POST"])``, or ``@transactional``.
FastAPI: ``@api.post("/likes", dependencies=[in_transaction])``.

Both use the engine of the application that :func:`~learner_app.web.app.create_app` built, or that
:class:`~learner_app.web.engine.EngineMiddleware` names, and the configured engine elsewhere. For
another engine: ``@transactional(engine=other)`` and ``dependencies=[in_transaction_of(other)]``.

An endpoint that raises an exception causes a rollback. One that returns a response causes a commit,
whatever the status of the response. The body of a streaming response is sent after the commit.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast, overload

from fastapi import Depends

from learner_app.database.engine import DatabaseEngine
from learner_app.database.transaction import Transaction
from learner_app.schema.piccolo_hooks import current_engine

P = ParamSpec("P")
T = TypeVar("T")


@overload
def transactional(
    endpoint: Callable[P, Awaitable[T]], *, engine: DatabaseEngine | None = None
) -> Callable[P, Awaitable[T]]: ...
@overload
def transactional(
    endpoint: None = None, *, engine: DatabaseEngine | None = None
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]: ...
def transactional(
    endpoint: Callable[P, Awaitable[T]] | None = None, *, engine: DatabaseEngine | None = None
) -> Any:
    """Run an endpoint in a transaction, as a function or as a decorator.

    Args:
        endpoint: coroutine function of Starlette or FastAPI.
        engine: engine of the transaction, by default that of the application.
    """

    def decorate(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        @wraps(function)
        async def run(*args: P.args, **kwargs: P.kwargs) -> T:
            async with (engine or _current_engine()).transaction():
                return await function(*args, **kwargs)

        return run

    return decorate if endpoint is None else decorate(endpoint)


def in_transaction_of(engine: DatabaseEngine) -> Any:
    """Return a dependency of FastAPI that runs the endpoint in a transaction of the engine."""

    async def dependency() -> AsyncIterator[Transaction]:
        async with engine.transaction() as transaction:
            yield transaction

    return _before_response(dependency)


async def _transaction() -> AsyncIterator[Transaction]:
    async with _current_engine().transaction() as transaction:
        yield transaction


def _before_response(dependency: Callable[[], AsyncIterator[Transaction]]) -> Any:
    """Return the dependency with a scope that ends before the response is sent.

    FastAPI's default scope ends after the response, which could then not report a failed COMMIT.
    """
    return Depends(dependency, scope="function")


def _current_engine() -> DatabaseEngine:
    return cast("DatabaseEngine", current_engine())


in_transaction: Any = _before_response(_transaction)
"""Dependency of FastAPI that runs the endpoint in a transaction."""
