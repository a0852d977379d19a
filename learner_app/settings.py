"""All settings, from the environment and a ``.env`` in the project folder; read here only."""

import os
import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from learner_app.errors import SettingsError

Seconds = Annotated[float, Field(gt=0, le=2_147_483, allow_inf_nan=False)]
"""Up to what PostgreSQL takes as milliseconds."""

STATEMENT_SHARE = 0.9
"""Of DB_COMMAND_TIMEOUT, for DB_STATEMENT_TIMEOUT where that is not set."""

LOCK_SECONDS = 10.0

LEAST_PASSWORD_WORK = 35_840
"""The weakest of OWASP's equivalent settings: 7 MiB and 5 passes."""

OWNER_SETTINGS = ("database_owner_url", "db_owner_user", "db_owner_password")

PICCOLO_CONF = "PICCOLO_CONF"
OUR_CONF = "learner_app.conf"


class Settings(BaseSettings):
    """One field a variable, named as in the environment but in lower case."""

    model_config = SettingsConfigDict(
        extra="ignore", env_ignore_empty=True, hide_input_in_errors=True
    )

    app_env: Literal["development", "test", "production"] = "development"
    database_url: SecretStr | None = None
    db_host: str | None = None
    db_port: int = Field(default=5432, ge=1, le=65_535)
    db_name: str | None = None
    db_user: str | None = None
    db_password: SecretStr | None = None
    database_owner_url: SecretStr | None = None
    db_owner_user: str | None = None
    db_owner_password: SecretStr | None = None
    database_admin_url: SecretStr | None = None
    db_ssl: bool | None = None
    db_ssl_verify: bool = True
    db_ssl_root_cert: Path | None = None
    db_pool_min: int = Field(default=1, ge=1)
    db_pool_max: int = Field(default=20, ge=1, le=1000)
    db_pool_idle: Seconds = 30.0
    db_pool_age: Seconds = 3600.0
    db_connect_timeout: Seconds = 10.0
    db_host_timeout: Seconds = 2.0
    db_acquire_timeout: Seconds = 10.0
    db_command_timeout: Seconds = 60.0
    db_statement_timeout: Seconds | None = None
    db_lock_timeout: Seconds | None = None
    db_idle_in_transaction_timeout: Seconds = 60.0
    db_hold_warning: Seconds = 30.0
    db_retry_attempts: int = Field(default=5, ge=1, le=100)
    db_retry_initial: Seconds = 0.5
    db_retry_multiplier: float = Field(default=2.0, ge=1, le=10)
    db_retry_max: Seconds = 30.0
    db_retry_deadline: Seconds = 120.0
    db_required: bool = False
    db_pgbouncer: bool = False
    db_replicas: SecretStr | None = None
    db_application_name: str = Field(default="learner_app", max_length=63, pattern="^[ -~]+$")
    db_echo: bool = False
    password_memory_kib: int = Field(default=19_456, ge=7168, le=1_048_576)
    password_passes: int = Field(default=2, ge=1, le=64)
    password_lanes: int = Field(default=1, ge=1, le=64)
    test_database_url: SecretStr | None = None
    learner_data: Path | None = None

    @model_validator(mode="after")
    def _settings_fit(self) -> "Settings":
        if self.db_pool_min > self.db_pool_max:
            raise ValueError("DB_POOL_MIN must not be above DB_POOL_MAX")
        if self.db_retry_initial > self.db_retry_max:
            raise ValueError("DB_RETRY_INITIAL must not be above DB_RETRY_MAX")
        if self.statement_seconds >= self.db_command_timeout:
            raise ValueError("DB_STATEMENT_TIMEOUT must be below DB_COMMAND_TIMEOUT")
        if self.lock_seconds > self.statement_seconds:
            raise ValueError("DB_LOCK_TIMEOUT must not be above DB_STATEMENT_TIMEOUT")
        if self.password_memory_kib * self.password_passes < LEAST_PASSWORD_WORK:
            raise ValueError(
                f"PASSWORD_MEMORY_KIB times PASSWORD_PASSES must be at least {LEAST_PASSWORD_WORK}"
            )
        if self.db_echo and self.app_env != "development":
            raise ValueError("DB_ECHO is for APP_ENV=development only")
        return self

    @model_validator(mode="after")
    def _owner_settings_fit(self) -> "Settings":
        parts = self.db_owner_user is not None or self.db_owner_password is not None
        if parts and self.database_owner_url is not None:
            raise ValueError("set DATABASE_OWNER_URL or DB_OWNER_USER, not both")
        if self.db_owner_password is not None and self.db_owner_user is None:
            raise ValueError("DB_OWNER_PASSWORD needs DB_OWNER_USER")
        is_owner_set = parts or self.database_owner_url is not None
        if is_owner_set and self.database_url is None and self.db_host is None:
            name = "DB_OWNER_USER" if parts else "DATABASE_OWNER_URL"
            raise ValueError(f"{name} needs DATABASE_URL, or DB_HOST and its fellow settings")
        return self

    @property
    def statement_seconds(self) -> float:
        """After how long the server ends a statement: below the time that we wait for it."""
        return self.db_statement_timeout or STATEMENT_SHARE * self.db_command_timeout

    @property
    def lock_seconds(self) -> float:
        """After how long the server ends the wait for a lock."""
        return self.db_lock_timeout or min(LOCK_SECONDS, self.statement_seconds / 2)

    @property
    def names_database(self) -> bool:
        """Whether a database is given; else it is that of ``learner up``."""
        return self.database_url is not None or self.db_host is not None

    @property
    def data_folder(self) -> Path:
        """Where ``learner up`` keeps its PostgreSQL: LEARNER_DATA or a folder of the project."""
        return project_folder() / (self.learner_data or "learner-data")

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
        settings = Settings(_env_file=project_folder() / ".env")  # type: ignore[call-arg]  # known to pydantic-settings only
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(item) for item in error.errors())) from None
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text") from None
    return _without_other_owner(settings)


def _without_other_owner(settings: Settings) -> Settings:
    """Drop the owner role of ``.env`` where the environment names the database.

    The owner in the file belongs to the database in the file: `learner reset` must not reach it.
    """
    given = {name.lower() for name, value in os.environ.items() if value}
    if given.isdisjoint(OWNER_SETTINGS) and not given.isdisjoint({"database_url", "db_host"}):
        return settings.model_copy(update=dict.fromkeys(OWNER_SETTINGS))
    return settings


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


def point_piccolo_here() -> None:
    """Where the project has no ``piccolo_conf.py``, let Piccolo use the one of the package."""
    if find_spec("piccolo_conf") is None:
        os.environ.setdefault(PICCOLO_CONF, OUR_CONF)


def piccolo_is_pointed_here() -> bool:
    """Whether Piccolo uses the configuration of the package, whatever the project has."""
    return os.environ.get(PICCOLO_CONF) == OUR_CONF


def connection_variables() -> list[str]:
    """Those of the environment that are settings of ours, or of every client of PostgreSQL."""
    return [
        name
        for name in os.environ
        if name.lower() in Settings.model_fields or re.fullmatch("PG[A-Z]+", name)
    ]
