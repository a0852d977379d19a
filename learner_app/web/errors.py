"""HTTP status codes for errors of the database."""

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
"""Value of the header ``Retry-After``."""


class DatabaseErrors:
    """ASGI middleware that turns an unhandled error of the database into a response.

    An error whose request may succeed on a retry is answered with 503 and ``Retry-After``. The body
    contains the class of the error and its fields, and nothing about the server.

    Frameworks such as FastAPI often send a response with status 500 before they raise the error
    again. Such a response is therefore delayed until the application has returned or raised.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        delayed: list[Message] = []
        has_started = False

        async def send_or_delay(message: Message) -> None:
            nonlocal has_started
            is_server_error = message.get("status") == HTTPStatus.INTERNAL_SERVER_ERROR
            if delayed or (is_server_error and not has_started):
                delayed.append(message)
            else:
                has_started = True
                await send(message)

        try:
            await self.app(scope, receive, send_or_delay)
        except BaseException as error:
            failure = _unwrap_single(error)
            if isinstance(failure, DatabaseError) and not has_started:
                await _response(failure)(scope, receive, send)
                return
            await _send_all(delayed, send)
            raise
        else:
            await _send_all(delayed, send)


def _unwrap_single(error: BaseException) -> BaseException:
    """Return the only error of an exception group, or the error itself."""
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
