"""All settings, read from the environment and from ``.env`` in the project folder."""

import logging
import os
import re
from collections.abc import Mapping
from difflib import SequenceMatcher, get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails

from learner_app.errors import SettingsError

log = logging.getLogger(__name__)

Seconds = Annotated[float, Field(gt=0, le=2_147_483, allow_inf_nan=False)]
"""Positive duration; PostgreSQL stores it as milliseconds in 32 bits."""

STATEMENT_SHARE = 0.9
"""Default of DB_STATEMENT_TIMEOUT as a share of DB_COMMAND_TIMEOUT."""

LOCK_SECONDS = 10.0
"""Upper limit of the default of DB_LOCK_TIMEOUT."""

MIN_PASSWORD_WORK = 35_840
"""Memory in KiB times passes of the weakest Argon2id setting of OWASP: 7 MiB and 5 passes."""

OWNER_SETTINGS = ("database_owner_url", "db_owner_user", "db_owner_password")
"""Settings of the owner role, which runs migrations and backups."""

DATABASE_PARTS = ("db_host", "db_port", "db_name", "db_user", "db_password")
"""Settings that name the database where DATABASE_URL is not set."""

SERVER_SETTINGS = (*DATABASE_PARTS, "db_ssl", "db_ssl_root_cert", "db_ssl_cert", "db_ssl_key")
"""Settings that require DATABASE_URL or DB_HOST."""

FOREIGN_NAMES = {
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
"""Settings by the names that other programs use, too different to be found by their spelling."""

TYPO_RATIO = 0.82
"""Similarity, measured by difflib, above which a variable counts as a misspelt setting.

DB_POOLMAX (0.95) and DB_HSOT (0.86) are above the limit. DB_ROOT_PASSWORD (0.81) and DB_CONNECTION
(0.77) are variables of other programs and below it.
"""

URL_TYPO_RATIO = 0.9
"""The same limit for names like DATABASE_URL, which resemble many variables of other programs."""

PICCOLO_CONF = "PICCOLO_CONF"
"""Variable by which Piccolo finds its configuration module."""

PACKAGE_CONF = "learner_app.conf"
"""Configuration module of a project without its own."""


class Settings(BaseModel):
    """Settings with one field for each environment variable, named in lower case.

    :func:`load_settings` reads the variables. The constructor reads none: it takes values, and the
    other fields have their defaults.
    """

    # defer_build: the validator is built at the first use, not by the import of this module
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, defer_build=True)

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
    db_checkout_warning: Seconds = 30.0
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
    def _check_combinations(self) -> "Settings":
        if self.db_pool_min > self.db_pool_max:
            raise ValueError("DB_POOL_MIN must be at most DB_POOL_MAX")
        if self.db_retry_initial > self.db_retry_max:
            raise ValueError("DB_RETRY_INITIAL must be at most DB_RETRY_MAX")
        if self.statement_seconds >= self.db_command_timeout:
            raise ValueError("DB_STATEMENT_TIMEOUT must be below DB_COMMAND_TIMEOUT")
        if self.lock_seconds > self.statement_seconds:
            raise ValueError("DB_LOCK_TIMEOUT must be at most DB_STATEMENT_TIMEOUT")
        if self.password_memory_kib * self.password_passes < MIN_PASSWORD_WORK:
            raise ValueError(
                f"PASSWORD_MEMORY_KIB times PASSWORD_PASSES must be at least {MIN_PASSWORD_WORK}"
            )
        if self.db_echo and self.app_env != "development":
            raise ValueError("DB_ECHO requires APP_ENV=development")
        return self

    @model_validator(mode="after")
    def _check_owner_settings(self) -> "Settings":
        parts = self.db_owner_user is not None or self.db_owner_password is not None
        if parts and self.database_owner_url is not None:
            raise ValueError("set either DATABASE_OWNER_URL or DB_OWNER_USER, not both")
        if self.db_owner_password is not None and self.db_owner_user is None:
            raise ValueError("DB_OWNER_PASSWORD requires DB_OWNER_USER")
        is_owner_set = parts or self.database_owner_url is not None
        if is_owner_set and self.database_url is None and self.db_host is None:
            name = "DB_OWNER_USER" if parts else "DATABASE_OWNER_URL"
            raise ValueError(f"{name} requires DATABASE_URL or DB_HOST")
        return self

    @property
    def statement_seconds(self) -> float:
        """Seconds after which the server cancels a statement.

        Less than DB_COMMAND_TIMEOUT, so that the server reports the timeout before the client
        gives up and has to close the connection.
        """
        return self.db_statement_timeout or STATEMENT_SHARE * self.db_command_timeout

    @property
    def lock_seconds(self) -> float:
        """Seconds after which the server cancels a statement that waits for a lock."""
        return self.db_lock_timeout or min(LOCK_SECONDS, self.statement_seconds / 2)

    @property
    def has_database(self) -> bool:
        """True if the settings name a database, False if ``learner up`` provides it.

        Raises:
            SettingsError: a setting requires DATABASE_URL or DB_HOST, and neither is set.
        """
        if self.database_url is not None or self.db_host is not None:
            return True
        dependent = [
            name.upper()
            for name in SERVER_SETTINGS
            if name in self.model_fields_set and getattr(self, name) not in (None, False)
        ]
        if dependent:
            raise SettingsError(
                f"{_subject(dependent)} without DB_HOST: set DB_HOST as well, or DATABASE_URL"
            )
        return False

    @property
    def data_folder(self) -> Path:
        """Folder of the development database: LEARNER_DATA, or ``learner-data`` in the project."""
        return project_folder() / (self.learner_data or "learner-data")

    @property
    def running_file(self) -> Path:
        """File without secrets that names the database of a running ``learner up``."""
        return self.data_folder / "running.json"


def load_settings() -> Settings:
    """Read the settings from the environment and ``.env``.

    Raises:
        SettingsError: a value is not allowed, or a name is misspelt. The message names the
            variable.
    """
    environment, file = _lower_case(os.environ), _read_env_file(project_folder() / ".env")
    _check_names({**file, **environment})
    file = _without_overridden_database(environment, file)
    try:
        return Settings.model_validate({**file, **environment})
    except ValidationError as error:
        raise SettingsError("; ".join(_describe(item) for item in error.errors())) from None


def _read_env_file(path: Path) -> Mapping[str, str]:
    if not (path.is_file() or path.is_fifo()):
        return {}
    from dotenv import dotenv_values  # not imported where the environment has all settings

    try:
        return _lower_case(dotenv_values(path, encoding="utf-8"))
    except UnicodeDecodeError:
        raise SettingsError(".env is not UTF-8 text: save it in this encoding") from None


def _lower_case(variables: Mapping[str, str | None]) -> Mapping[str, str]:
    """Return the variables that have a value, with their names in lower case."""
    return {name.lower(): value for name, value in variables.items() if value}


def _describe(item: ErrorDetails) -> str:
    name = str(item["loc"][0]).upper() + ": " if item["loc"] else ""
    return name + str(item["msg"]).removeprefix("Value error, ")


def _subject(names: list[str]) -> str:
    """Return the subject and verb of a message: ``A is set`` or ``A and B are set``."""
    *others, last = names
    return f"{', '.join(others)} and {last} are set" if others else f"{last} is set"


def _check_names(variables: Mapping[str, str]) -> None:
    """Check the names of all variables.

    Misspelt settings are an error. Other unknown ``DB_*`` variables are logged as a warning.
    """
    known = [name.upper() for name in Settings.model_fields]
    present = {name.upper() for name in variables}
    mistakes = []
    for name in sorted(present.difference(known)):
        if name.startswith("DB_"):
            meant = FOREIGN_NAMES.get(name) or _closest(name, known)
            if name in FOREIGN_NAMES or _similarity(name, meant) >= TYPO_RATIO:
                mistakes.append(f"{name} is not a setting: did you mean {meant}?")
            else:
                hint = f"; the closest setting is {meant}" if meant else ""
                warn_once(f"{name} is not a setting of learner_app and is ignored{hint}")
        elif meant := _misspelt_url(name, [url for url in known if url not in present]):
            mistakes.append(f"{name} is not a setting: did you mean {meant}?")
    if mistakes:
        raise SettingsError(" ".join(mistakes))


def _misspelt_url(name: str, unset: list[str]) -> str:
    """Return the unset URL setting that the name resembles, or an empty string.

    A longer name that contains the setting, such as MY_DATABASE_URL, is not a misspelling.
    """
    meant = _closest(name, [url for url in unset if "DATABASE" in url and url not in name])
    return meant if _similarity(name, meant) >= URL_TYPO_RATIO else ""


def _closest(name: str, known: list[str]) -> str:
    return next(iter(get_close_matches(name, known, n=1)), "")


def _similarity(name: str, other: str) -> float:
    return SequenceMatcher(None, other, name).ratio()


@cache
def warn_once(message: str) -> None:
    """Log a warning once per process."""
    log.warning(message)


def _without_overridden_database(
    environment: Mapping[str, str], file: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the variables of ``.env`` without the database that the environment overrides.

    The owner role in the file is removed as well: ``learner reset`` must not reach the database of
    the file.

    Raises:
        SettingsError: ``.env`` sets DATABASE_URL, and the environment sets single parts such as
            DB_HOST.
    """
    if not {"database_url", "db_host"}.isdisjoint(environment):
        file = {name: value for name, value in file.items() if name not in OWNER_SETTINGS}
    if "database_url" in environment:
        return {name: value for name, value in file.items() if name not in DATABASE_PARTS}
    parts = [name.upper() for name in DATABASE_PARTS if name in environment]
    if "database_url" in file and parts:
        raise SettingsError(
            f"{_subject(parts)} in the environment and DATABASE_URL in .env: "
            "set DATABASE_URL in the environment instead"
        )
    return file


@cache
def project_folder() -> Path:
    """Return the nearest folder with a ``piccolo_conf.py``, from the working folder upwards.

    Without one, return the source checkout of this package, or else the working folder.
    """
    here = Path.cwd()
    checkout = Path(__file__).parent.parent
    for folder in (here, *here.parents, checkout):
        if (folder / "piccolo_conf.py").is_file():
            return folder
    return here


def piccolo_conf_module() -> str | None:
    """Return the configuration module of the package, or None if the project has its own."""
    has_own = PICCOLO_CONF in os.environ or find_spec("piccolo_conf") is not None
    return None if has_own else PACKAGE_CONF


def require_piccolo_conf() -> None:
    """Raise SettingsError if PICCOLO_CONF names a module that does not exist."""
    name = os.environ.get(PICCOLO_CONF)
    try:
        exists = name is None or find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):  # its package is missing, or the name is empty
        exists = False
    if not exists:
        raise SettingsError(f"{PICCOLO_CONF}: there is no such module: correct or remove it")


def connection_variables() -> list[str]:
    """Return the set environment variables that are settings, or variables of libpq."""
    return [
        name
        for name in os.environ
        if name.lower() in Settings.model_fields or re.fullmatch("PG[A-Z]+", name)
    ]
