"""All settings, from the environment and a ``.env`` in the project folder; read here only."""

import json
from functools import cache
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from learner_app.errors import DatabaseNotConfigured, SettingsError

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
MAX_PORT = 65_535
Seconds = Annotated[float, Field(gt=0)]


class Settings(BaseSettings):
    """One field a variable, named as in the environment but in lower case."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    database_url: SecretStr | None = None
    test_database_url: SecretStr | None = None
    app_env: Literal["development", "test", "production"] = "development"
    db_pool_min: int = Field(default=1, ge=1)
    db_pool_max: int = Field(default=20, ge=1)
    db_connect_timeout: Seconds = 10.0
    db_acquire_timeout: Seconds = 10.0
    learner_data: Path | None = None

    @model_validator(mode="after")
    def _pool_bounds(self) -> "Settings":
        if self.db_pool_min > self.db_pool_max:
            raise ValueError("DB_POOL_MIN must not be above DB_POOL_MAX")
        return self

    @property
    def data_folder(self) -> Path:
        """Where ``learner up`` keeps its PostgreSQL: LEARNER_DATA or a folder of the project."""
        return self.learner_data or project_folder() / "learner-data"

    @property
    def running_file(self) -> Path:
        """Names the database of a running ``learner up``; holds no secret."""
        return self.data_folder / "running.json"


def load_settings() -> Settings:
    """Read the settings.

    Raises:
        SettingsError: a variable has a value that is not allowed; the message names the variable.
    """
    try:
        return Settings(_env_file=project_folder() / ".env")  # type: ignore[call-arg]  # known to pydantic-settings only
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(item) for item in error.errors())) from None
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text") from None


def _complaint(item: ErrorDetails) -> str:
    name = str(item["loc"][0]).upper() + ": " if item["loc"] else ""
    return name + str(item["msg"]).removeprefix("Value error, ")


@cache
def project_folder() -> Path:
    """The folder of the project: the nearest one from here upwards with a ``piccolo_conf.py``.

    Else the checkout that this package is imported from, else the working folder.
    """
    here = Path.cwd()
    checkout = Path(__file__).parent.parent
    for folder in (here, *here.parents, checkout):
        if (folder / "piccolo_conf.py").is_file():
            return folder
    return here


def find_database_url(settings: Settings) -> str:
    """The URL to connect to: DATABASE_URL, or the database of a running ``learner up``.

    Raises:
        DatabaseNotConfigured: there is neither.
        SettingsError: DATABASE_URL is no PostgreSQL URL.
    """
    if settings.database_url:
        return checked_url("DATABASE_URL", settings.database_url.get_secret_value())
    try:
        running = json.loads(settings.running_file.read_text())
    except FileNotFoundError:
        raise DatabaseNotConfigured(
            "no database: start one with `learner up`, or set DATABASE_URL"
        ) from None
    return str(running["url"])


def checked_url(setting: str, url: str) -> str:
    """The URL as asyncpg wants it, after the checks that keep its errors free of the password."""
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme not in SCHEMES:
        raise SettingsError(
            f"{setting} must begin with postgresql://, postgres:// or postgresql+asyncpg://"
        )
    url = f"postgresql://{rest}"
    parts = urlsplit(url)
    if parts.fragment or "#" in url or parts.netloc.count("@") > 1:
        raise SettingsError(f"{setting}: write # as %23 and @ as %40 in user and password")
    for host in parts.netloc.rpartition("@")[2].split(","):
        port = host.rpartition("]")[2].partition(":")[2]
        if port and not (port.isdecimal() and 0 < int(port) <= MAX_PORT):
            raise SettingsError(f"{setting}: a port is a number from 1 to 65535")
    return url
