"""A small sign-in service on the repositories: no SQL, and errors become HTTP in one place.

``uvicorn examples.accounts_service:app`` beside a running ``learner up``. The session's token lives
in a cookie that scripts cannot read and that other sites cannot make a browser send with a POST.
How often somebody may try, and how large a request may be, is for what stands in front of it.
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
    """What clients send; nothing of it is repeated in an error."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)


class SignIn(Body):
    email: str
    password: SecretStr


class ChangePassword(Body):
    old: SecretStr
    new: SecretStr


class Forgotten(Body):
    email: str


class Reset(Body):
    email: str
    code: SecretStr
    password: SecretStr


async def register(request: Request) -> Response:
    """Tells of a taken address, by 409: a service that must not would send a mail instead."""
    user = await users.register(UserCreate.model_validate_json(await body(request)))
    opened = await sessions.open(user.id, SESSION_TTL, **device(request))
    return with_cookie(shown(user, 201), opened)


async def sign_in(request: Request) -> Response:
    given = SignIn.model_validate_json(await body(request))
    await sessions.close(request.cookies.get(COOKIE, ""))
    opened = await sessions.sign_in(given.email, given.password, SESSION_TTL, **device(request))
    if opened is None:
        raise HTTPException(401, "wrong address or password")
    return with_cookie(Response(status_code=204), opened)


async def sign_out(request: Request) -> Response:
    await sessions.close(request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, secure=True, httponly=True, samesite="lax")
    return response


async def who_am_i(request: Request) -> Response:
    me = await signed_in(request)
    token = request.cookies[COOKIE]
    session = await sessions.extend(token, SESSION_TTL)  # writes once a day
    response = shown(me.user)
    if session is not None and session.expires_at != me.session.expires_at:
        return with_cookie(response, OpenedSession(SecretStr(token), session))
    return response


async def change_password(request: Request) -> Response:
    me = await signed_in(request)
    given = ChangePassword.model_validate_json(await body(request))
    token = request.cookies[COOKIE]
    if await users.change_password(me.user.id, given.old, given.new, keep_token=token) is None:
        raise HTTPException(403, "wrong password")
    return Response(status_code=204)


async def forgotten(request: Request) -> Response:
    """The same answer in the same time, whether or not there is such an address."""
    given = Forgotten.model_validate_json(await body(request))
    task = BackgroundTask(send_code, given.email, request.app.state.mail)
    return Response(status_code=202, background=task)


async def send_code(email: str, mail: Mailer) -> None:
    issued = await users.issue_reset(email, CODE_TTL)
    if issued is not None:
        # to the address that is stored: the one given may look the same and be another's
        await mail(issued.user.email, issued.code)


async def reset(request: Request) -> Response:
    given = Reset.model_validate_json(await body(request))
    user = await users.reset_password(given.email, given.code, given.password)
    if user is None:
        raise HTTPException(400, "the code is wrong or too old")
    return Response(status_code=204)


async def signed_in(request: Request) -> SignedIn:
    found = await sessions.resolve(request.cookies.get(COOKIE, ""))
    if found is None:
        raise HTTPException(401, "nobody is signed in")
    return found


async def body(request: Request) -> bytes:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":  # which forms of other sites cannot send
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


def shown(user: User, status: int = 200) -> Response:
    return JSONResponse(UserResponse.of(user).model_dump(mode="json"), status)


async def refused(_request: Request, error: Exception) -> Response:
    names = [".".join(map(str, item["loc"])) for item in error.errors()]  # type: ignore[attr-defined]
    return JSONResponse({"error": "InvalidValue", "fields": names}, 422)


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
        "/password/forgotten": forgotten,
        "/password/reset": reset,
    }
    application = Starlette(
        routes=[
            Route("/me", who_am_i),
            *(Route(path, end, methods=["POST"]) for path, end in posts.items()),
        ],
        middleware=[Middleware(DatabaseErrors)],  # our errors become status codes here
        exception_handlers={ValidationError: refused},
        lifespan=lifespan,
    )
    application.state.mail = mail
    return application


app = create_app()
