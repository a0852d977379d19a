"""All settings, from the environment and a ``.env`` in the project folder; read here only."""

import logging
import os
import re
from collections.abc import Mapping
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from learner_app.errors import SettingsError

log = logging.getLogger(__name__)

Seconds = Annotated[float, Field(gt=0, le=2_147_483, allow_inf_nan=False)]
"""Up to what PostgreSQL takes as milliseconds."""

STATEMENT_SHARE = 0.9
"""Of DB_COMMAND_TIMEOUT, for DB_STATEMENT_TIMEOUT where that is not set."""

LOCK_SECONDS = 10.0

LEAST_PASSWORD_WORK = 35_840
"""The weakest of OWASP's equivalent settings: 7 MiB and 5 passes."""

OWNER_SETTINGS = ("database_owner_url", "db_owner_user", "db_owner_password")
"""Settings of the owner role, which migrates and dumps."""

DATABASE_PARTS = ("db_host", "db_port", "db_name", "db_user", "db_password")
"""Settings that name a database when DATABASE_URL does not."""

SERVER_SETTINGS = (*DATABASE_PARTS, "db_ssl", "db_ssl_root_cert", "db_ssl_cert", "db_ssl_key")
"""Settings that describe a server and therefore require DATABASE_URL or DB_HOST."""

NAMES_ELSEWHERE = {
    "DB_DATABASE": "DB_NAME",
    "DB_HOSTNAME": "DB_HOST",
    "DB_MAX_CONNECTIONS": "DB_POOL_MAX",
    "DB_PASS": "DB_PASSWORD",
    "DB_POOL": "DB_POOL_MAX",
    "DB_POOL_SIZE": "DB_POOL_MAX",
    "DB_PWD": "DB_PASSWORD",
    "DB_SSL_CA": "DB_SSL_ROOT_CERT",
    "DB_SSL_MODE": "DB_SSL",
    "DB_SSLMODE": "DB_SSL",
    "DB_TIMEOUT": "DB_COMMAND_TIMEOUT",
    "DB_URI": "DATABASE_URL",
    "DB_URL": "DATABASE_URL",
    "DB_USERNAME": "DB_USER",
}
"""Names of other programs for settings of this one that spelling alone does not match."""

TYPO_RATIO = 0.82
"""Similarity of names, as difflib measures it, from which a variable counts as misspelt.

DB_POOLMAX (0.95) and DB_HSOT (0.86) are above; DB_ROOT_PASSWORD (0.81) and DB_CONNECTION (0.77),
which belong to other programs, are below.
"""

URL_TYPO_RATIO = 0.9
"""The same for names like DATABASE_URL, of which programs and providers have many similar ones."""

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
    db_ssl_cert: Path | None = None
    db_ssl_key: Path | None = None
    db_ssl_key_password: SecretStr | None = None
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

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  # the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Check the names of all variables before pydantic-settings reads their values."""
        if isinstance(env_settings, EnvSettingsSource) and isinstance(
            dotenv_settings, DotEnvSettingsSource
        ):
            environment, file = env_settings.env_vars, dotenv_settings.env_vars
            _check_names({**file, **environment})
            dotenv_settings.env_vars = _without_overridden_database(environment, file)
        return init_settings, env_settings, dotenv_settings, file_secret_settings

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
    def has_database(self) -> bool:
        """True if the settings name a database, False if ``learner up`` provides it.

        Raises:
            SettingsError: neither DATABASE_URL nor DB_HOST is set, but a setting that needs one.
        """
        if self.database_url is not None or self.db_host is not None:
            return True
        given = [
            name.upper()
            for name in SERVER_SETTINGS
            if name in self.model_fields_set and getattr(self, name) not in (None, False)
        ]
        if given:
            raise SettingsError(
                f"{_listed(given)} without DB_HOST: set DB_HOST as well, or DATABASE_URL"
            )
        return False

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
        return Settings(_env_file=project_folder() / ".env")  # type: ignore[call-arg]  # known to pydantic-settings only
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(item) for item in error.errors())) from None
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text") from None


def _complaint(item: ErrorDetails) -> str:
    name = str(item["loc"][0]).upper() + ": " if item["loc"] else ""
    return name + str(item["msg"]).removeprefix("Value error, ")


def _listed(names: list[str]) -> str:
    """Return the names as a subject with its verb: ``A is set``, ``A and B are set``."""
    *others, last = names
    return f"{', '.join(others)} and {last} are set" if others else f"{last} is set"


def _check_names(variables: Mapping[str, str | None]) -> None:
    """Raise SettingsError for misspelt settings, and warn of other unknown ``DB_*`` variables."""
    known = [name.upper() for name in Settings.model_fields]
    given = {name.upper() for name, value in variables.items() if value}
    mistakes = []
    for name in sorted(given.difference(known)):
        if name.startswith("DB_"):
            meant = NAMES_ELSEWHERE.get(name) or _closest(name, known)
            if name in NAMES_ELSEWHERE or _similarity(name, meant) >= TYPO_RATIO:
                mistakes.append(f"{name} is not a setting: did you mean {meant}?")
            else:
                hint = f"; the closest setting is {meant}" if meant else ""
                warn_once(f"{name} is not a setting of learner_app and is ignored{hint}")
        elif meant := _misspelt_url(name, [url for url in known if url not in given]):
            mistakes.append(f"{name} is not a setting: did you mean {meant}?")
    if mistakes:
        raise SettingsError(" ".join(mistakes))


def _misspelt_url(name: str, unset: list[str]) -> str:
    """Return the unset ``DATABASE_URL`` or its like that the name misspells, or an empty string.

    A name that contains it, such as MY_DATABASE_URL, is another name and no mistake.
    """
    meant = _closest(name, [url for url in unset if "DATABASE" in url and url not in name])
    return meant if _similarity(name, meant) >= URL_TYPO_RATIO else ""


def _closest(name: str, known: list[str]) -> str:
    return next(iter(get_close_matches(name, known, n=1)), "")


def _similarity(name: str, other: str) -> float:
    return SequenceMatcher(None, other, name).ratio()


@cache
def warn_once(message: str) -> None:
    """Log a warning the first time that the process reports it."""
    log.warning(message)


def _without_overridden_database(
    environment: Mapping[str, str | None], file: Mapping[str, str | None]
) -> Mapping[str, str | None]:
    """Return the variables of ``.env`` without the database that the environment replaces.

    Its owner role is left out as well: ``learner reset`` must not reach the database of the file.

    Raises:
        SettingsError: ``.env`` has DATABASE_URL, and the environment has parts of another one.
    """
    if not {"database_url", "db_host"}.isdisjoint(environment):
        file = {name: value for name, value in file.items() if name not in OWNER_SETTINGS}
    if "database_url" in environment:
        return {name: value for name, value in file.items() if name not in DATABASE_PARTS}
    parts = [name.upper() for name in DATABASE_PARTS if name in environment]
    if "database_url" in file and parts:
        raise SettingsError(
            f"{_listed(parts)} in the environment and DATABASE_URL in .env, which names the "
            "database already: set DATABASE_URL in the environment instead"
        )
    return file


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


def use_package_conf() -> None:
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
