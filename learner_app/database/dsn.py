"""Database URL: parsing of DATABASE_URL and the DB_* settings, conversion to asyncpg's arguments.

All arguments are explicit, so that the PG* environment variables have no effect.
"""

import getpass
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote

from learner_app.database.tls import TlsOptions
from learner_app.database.url_options import find_session_settings, take_choice
from learner_app.errors import DatabaseNotConfigured, SettingsError
from learner_app.settings import Settings, warn_once

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
DEFAULT_PORT = 5432
MAX_PORT = 65_535
SESSION_ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
ESCAPE_ADVICE = "write # as %23, @ as %40, / as %2F and ? as %3F in user and password"


@dataclass(frozen=True)
class DatabaseUrl:
    """Addresses, user and options of a database, with a text form that contains no password."""

    hosts: tuple[str, ...]
    """Host names, IP addresses, or directories of unix sockets."""
    ports: tuple[int, ...]
    """Ports, one per host."""
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    tls: TlsOptions = field(default_factory=TlsOptions)
    session_attributes: str = "any"
    """``target_session_attrs``: the kind of server to connect to."""
    server_settings: dict[str, str] = field(default_factory=dict)
    """Settings of each session, such as ``search_path``."""
    is_development: bool = False
    """True for the database of ``learner up``."""

    def __str__(self) -> str:
        addresses = ",".join(
            host if host.startswith("/") else f"{host}:{port}"
            for host, port in zip(self.hosts, self.ports, strict=True)
        )
        return f"{self.user}@{addresses}/{self.database}"

    @property
    def is_local(self) -> bool:
        """True if all hosts are directories of unix sockets."""
        return all(host.startswith("/") for host in self.hosts)

    def connect_arguments(self, settings: Settings) -> dict[str, Any]:
        """Return the arguments of ``asyncpg.connect``, without timeouts.

        Raises:
            SettingsError: the encryption mode is not allowed, or a certificate is not usable.
        """
        return {
            "host": list(self.hosts),
            "port": list(self.ports),
            "user": self.user,
            "password": self.password or "",  # with None asyncpg reads PGPASSWORD and .pgpass
            "direct_tls": False,
            "database": self.database,
            "ssl": False if self.is_local else self.tls.ssl_argument(settings),
            "target_session_attrs": self.session_attributes,
            "server_settings": dict(self.server_settings),
        }


def find_database_url(settings: Settings) -> DatabaseUrl:
    """Return the URL of DATABASE_URL, else of the DB_* settings, else of a running ``learner up``.

    Raises:
        DatabaseNotConfigured: none of them exists.
        SettingsError: a setting is malformed, a setting that it requires is missing, or a DB_*
            setting contradicts DATABASE_URL and DB_HOST is not set.
    """
    if settings.database_url:
        target = parse_url("DATABASE_URL", settings.database_url.get_secret_value())
        _check_overridden_settings(settings, target)
        return target
    if settings.has_database:
        return _from_db_settings(settings)
    try:
        running = json.loads(settings.running_file.read_text())
        target = parse_url("running.json", running["url"])
    except (OSError, ValueError, KeyError, TypeError):
        raise DatabaseNotConfigured(
            "no database is configured: start one with `learner up`, or set DATABASE_URL"
        ) from None
    return DatabaseUrl(
        target.hosts, target.ports, target.user, target.database, is_development=True
    )


def require_unambiguous_database(settings: Settings) -> None:
    """Raise SettingsError if DATABASE_URL and the ``DB_*`` settings name different databases.

    Commands that delete data call it, so that they never depend on the precedence of DATABASE_URL.
    """
    if settings.database_url is None:
        return
    target = parse_url("DATABASE_URL", settings.database_url.get_secret_value())
    if names := _differing_settings(settings, target):
        raise SettingsError(
            f"DATABASE_URL and {', '.join(names)} name different databases: remove one of them"
        )


def _check_overridden_settings(settings: Settings, target: DatabaseUrl) -> None:
    """Warn if DATABASE_URL overrides ``DB_*`` settings that name another database.

    Raises:
        SettingsError: such settings exist without DB_HOST. They name no complete database, so they
            are probably meant to change a part of DATABASE_URL, which they do not.
    """
    names = _differing_settings(settings, target)
    if names and settings.db_host is None:
        require_unambiguous_database(settings)
    if names:
        warn_once(
            f"DATABASE_URL takes precedence: {', '.join(names)} differ from it and are ignored"
        )


def _differing_settings(settings: Settings, target: DatabaseUrl) -> list[str]:
    """Return the names of the ``DB_*`` settings whose values differ from the target's."""
    allowed = {
        "db_host": target.hosts,
        "db_port": target.ports,
        "db_name": (target.database,),
        "db_user": (target.user,),
        "db_password": (target.password,),
    }
    values = {name: getattr(settings, name) for name in settings.model_fields_set & set(allowed)}
    if password := values.get("db_password"):
        values["db_password"] = password.get_secret_value()
    return [
        name.upper()
        for name, accepted in allowed.items()
        if values.get(name) is not None and values[name] not in accepted
    ]


def _from_db_settings(settings: Settings) -> DatabaseUrl:
    missing = [name for name in ("DB_NAME", "DB_USER") if not getattr(settings, name.lower())]
    if missing:
        names = " and ".join(missing)
        raise SettingsError(f"DB_HOST is set without {names}: set {names} as well")
    password = settings.db_password.get_secret_value() if settings.db_password else None
    return DatabaseUrl(
        hosts=(settings.db_host or "",),
        ports=(settings.db_port,),
        user=settings.db_user or "",
        database=settings.db_name or "",
        password=password,
    )


def parse_url(setting: str, url: str) -> DatabaseUrl:
    """Parse a PostgreSQL URL.

    Args:
        setting: name of the setting with the URL, for messages.
        url: the URL.

    Raises:
        SettingsError: the URL is malformed or has an unsupported option; the message names the
            setting and what is allowed, never a value.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme not in SCHEMES:
        allowed = ", ".join(f"{name}://" for name in SCHEMES)
        raise SettingsError(f"{setting} must begin with one of {allowed}")
    # Without urlsplit(), which in some Python versions refuses an IPv6 address among several hosts.
    before_query, _, query = rest.partition("?")
    netloc, _, path = before_query.partition("/")
    if "#" in rest or "@" in path or netloc.count("@") > 1:
        raise SettingsError(f"{setting}: {ESCAPE_ADVICE}")
    if "\0" in unquote(rest):  # NUL ends a string in PostgreSQL's protocol
        raise SettingsError(f"{setting} must not contain a NUL character (%00)")
    try:
        options = _parse_query(query)
    except ValueError:
        raise SettingsError(f"{setting} is not a valid URL: {ESCAPE_ADVICE}") from None
    credentials, _, addresses = netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    addresses = options.pop("host", "") or unquote(addresses)
    hosts, ports = _parse_addresses(setting, addresses, options.pop("port", ""))
    user = options.pop("user", unquote(user)) or getpass.getuser()
    attributes = take_choice(setting, "target_session_attrs", options, SESSION_ATTRIBUTES)
    return DatabaseUrl(
        hosts=hosts,
        ports=ports,
        user=user,
        password=options.pop("password", unquote(password)) or None,
        database=options.pop("dbname", unquote(path)) or user,
        tls=TlsOptions.from_options(setting, options),
        session_attributes=attributes or "any",
        server_settings=find_session_settings(setting, options),
    )


def _parse_query(query: str) -> dict[str, str]:
    if not query:
        return {}
    return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))


def _parse_addresses(
    setting: str, text: str, common_port: str
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the hosts and ports of a comma-separated list, where IPv6 addresses have brackets.

    Args:
        setting: name of the setting with the URL, for messages.
        text: the list.
        common_port: port of the addresses without one, 5432 if empty.
    """
    hosts, ports = [], []
    default_port = _parse_port(setting, common_port)
    for address in text.split(","):
        if address.startswith("/"):
            folder, _, number = address.rpartition(":")
            host, port = (folder, number) if folder and number.isdecimal() else (address, "")
        elif address.startswith("["):
            if "]" not in address:
                raise SettingsError(f"{setting} is not a valid URL: an IPv6 address ends with ]")
            host, _, port = address[1:].partition("]")
            port = port.removeprefix(":")
        else:
            host, _, port = address.partition(":")
        hosts.append(host or "localhost")
        ports.append(_parse_port(setting, port) if port else default_port)
    return tuple(hosts), tuple(ports)


def _parse_port(setting: str, text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= MAX_PORT):
        raise SettingsError(f"{setting}: a port must be a number from 1 to {MAX_PORT}")
    return int(text)
