"""Example of a sign-in service on the repositories, without SQL of its own.

Run ``uvicorn examples.accounts_service:app`` while ``learner up`` is running. One middleware maps
the errors of the repositories to HTTP responses. The session token is stored in a cookie that
scripts cannot read (HttpOnly) and that browsers do not send with a POST from another site
(SameSite). Limit the request rate and the request size in the reverse proxy.
"""

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from learner_app.accounts.repositories import AuthSessionRepository, UserRepository
from learner_app.accounts.rows import OpenedSession, SignedIn, User, UserCreate, UserResponse
from learner_app.conf import DB
from learner_app.web.errors import DatabaseErrors

users, sessions = UserRepository(), AuthSessionRepository()

COOKIE = "__Host-session"
SESSION_TTL = timedelta(days=30)
CODE_TTL = timedelta(minutes=30)

Mailer = Callable[[str, SecretStr], Awaitable[None]]


class Body(BaseModel):
    """Base class of request bodies, whose errors do not contain the values."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SignIn(Body):
    email: str
    password: SecretStr


class ChangePassword(Body):
    old: SecretStr
    new: SecretStr


class ForgottenPassword(Body):
    email: str


class ResetPassword(Body):
    email: str
    code: SecretStr
    password: SecretStr


async def register(request: Request) -> Response:
    """Register a user and sign in.

    The response 409 reveals that the address is registered. A service that must not reveal it
    sends a mail to the address instead.
    """
    user = await users.register(UserCreate.model_validate_json(await json_body(request)))
    opened = await sessions.open(user.id, SESSION_TTL, **device(request))
    return with_cookie(user_response(user, 201), opened)


async def sign_in(request: Request) -> Response:
    form = SignIn.model_validate_json(await json_body(request))
    # A failed attempt also ends the previous session of the browser.
    await sessions.close(request.cookies.get(COOKIE, ""))
    opened = await sessions.sign_in(form.email, form.password, SESSION_TTL, **device(request))
    if opened is None:
        raise HTTPException(401, "wrong address or password")
    return with_cookie(Response(status_code=204), opened)


async def sign_out(request: Request) -> Response:
    await sessions.close(request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
    return response


async def current_user(request: Request) -> Response:
    current = await signed_in(request)
    token = request.cookies[COOKIE]
    session = await sessions.extend(token, SESSION_TTL)  # writes at most once a day
    response = user_response(current.user)
    if session is not None and session.expires_at != current.session.expires_at:
        return with_cookie(response, OpenedSession(SecretStr(token), session))
    return response


async def change_password(request: Request) -> Response:
    current = await signed_in(request)
    form = ChangePassword.model_validate_json(await json_body(request))
    token = request.cookies[COOKIE]
    changed = await users.change_password(current.user.id, form.old, form.new, keep_token=token)
    if changed is None:
        raise HTTPException(403, "wrong password")
    return Response(status_code=204)


async def forgot_password(request: Request) -> Response:
    """Send a code to the address of a user. The response is the same for an unknown address."""
    form = ForgottenPassword.model_validate_json(await json_body(request))
    # The task runs after the response, whose duration would otherwise reveal known addresses.
    task = BackgroundTask(send_code, form.email, request.app.state.mail)
    return Response(status_code=202, background=task)


async def send_code(email: str, mail: Mailer) -> None:
    issued = await users.issue_reset(email, CODE_TTL)
    if issued is not None:
        # The stored address is used: the one that was typed may look the same and be another one.
        await mail(issued.user.email, issued.code)


async def reset_password(request: Request) -> Response:
    form = ResetPassword.model_validate_json(await json_body(request))
    user = await users.reset_password(form.email, form.code, form.password)
    if user is None:
        raise HTTPException(400, "the code is wrong or expired")
    return Response(status_code=204)


async def signed_in(request: Request) -> SignedIn:
    """Return the session of the cookie and its user, or raise 401."""
    current = await sessions.resolve(request.cookies.get(COOKIE, ""))
    if current is None:
        raise HTTPException(401, "not signed in")
    return current


async def json_body(request: Request) -> bytes:
    """Return the body of a JSON request, or raise 415.

    A form on another site cannot send this content type.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise HTTPException(415, "send application/json")
    return await request.body()


def device(request: Request) -> dict[str, str | None]:
    host = request.client.host if request.client else None
    return {"ip_address": host, "user_agent": request.headers.get("user-agent")}


def with_cookie(response: Response, opened: OpenedSession) -> Response:
    response.set_cookie(
        COOKIE,
        opened.token.get_secret_value(),
        max_age=int(SESSION_TTL.total_seconds()),
        secure=True,
        httponly=True,
        samesite="lax",
    )
    return response


def user_response(user: User, status: int = 200) -> Response:
    return JSONResponse(UserResponse.of(user).model_dump(mode="json"), status)


async def invalid_body(_request: Request, error: Exception) -> Response:
    fields = [".".join(map(str, item["loc"])) for item in error.errors()]  # type: ignore[attr-defined]
    return JSONResponse({"error": "InvalidValue", "fields": fields}, 422)


async def log_only(email: str, _code: SecretStr) -> None:
    logging.getLogger(__name__).info("a code for %s would be sent here", email)


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncIterator[None]:
    async with DB.running():
        yield


def create_app(mail: Mailer = log_only) -> Starlette:
    posts = {
        "/register": register,
        "/sign-in": sign_in,
        "/sign-out": sign_out,
        "/password": change_password,
        "/password/forgotten": forgot_password,
        "/password/reset": reset_password,
    }
    application = Starlette(
        routes=[
            Route("/me", current_user),
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in posts.items()),
        ],
        middleware=[Middleware(DatabaseErrors)],  # maps the errors of the repositories
        exception_handlers={ValidationError: invalid_body},
        lifespan=lifespan,
    )
    application.state.mail = mail
    return application


app = create_app()
