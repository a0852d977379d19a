"""The one place where errors of the database become status codes."""

from http import HTTPStatus

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from learner_app.errors import (
    AccessDenied,
    Conflict,
    DatabaseError,
    InvalidTransition,
    InvalidValue,
    MissingReference,
    NotFound,
    StaleVersion,
    StatementTimeout,
    StillReferenced,
)

STATUS = {
    NotFound: HTTPStatus.NOT_FOUND,
    StaleVersion: HTTPStatus.CONFLICT,
    InvalidTransition: HTTPStatus.CONFLICT,
    Conflict: HTTPStatus.CONFLICT,
    MissingReference: HTTPStatus.CONFLICT,
    StillReferenced: HTTPStatus.CONFLICT,
    InvalidValue: HTTPStatus(422),
    AccessDenied: HTTPStatus.FORBIDDEN,
    StatementTimeout: HTTPStatus.GATEWAY_TIMEOUT,
}
RETRY_SECONDS = 1


class DatabaseErrors:
    """ASGI middleware that answers for an error of the database that nobody handled.

    What retrying may mend is 503 with ``Retry-After``. The body names the kind and the fields,
    nothing of the server. Applications inside have often sent a 500 before they let the error
    out: a 500 is held back until it is clear that there is no better answer.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        held: list[Message] = []
        has_started = False

        async def send_or_hold(message: Message) -> None:
            nonlocal has_started
            is_server_error = message.get("status") == HTTPStatus.INTERNAL_SERVER_ERROR
            if held or (is_server_error and not has_started):
                held.append(message)
            else:
                has_started = True
                await send(message)

        try:
            await self.app(scope, receive, send_or_hold)
        except BaseException as error:
            failure = _alone(error)
            if isinstance(failure, DatabaseError) and not has_started:
                await _response(failure)(scope, receive, send)
                return
            await _send_all(held, send)
            raise
        else:
            await _send_all(held, send)


def _alone(error: BaseException) -> BaseException:
    """The only error of a task group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


async def _send_all(messages: list[Message], send: Send) -> None:
    for message in messages:
        await send(message)


def _response(error: DatabaseError) -> JSONResponse:
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    if error.retry:
        status = HTTPStatus.SERVICE_UNAVAILABLE
    for kind, code in STATUS.items():
        if isinstance(error, kind):
            status = code
    headers = {"Retry-After": str(RETRY_SECONDS)} if error.retry else None
    body = {"error": type(error).__name__, "fields": list(error.fields)}
    return JSONResponse(body, status, headers)
