"""Where to connect and how: from the settings to the arguments of ``asyncpg.connect``.

Everything is said explicitly, so that PG* variables of the environment change nothing.
"""

import getpass
import json
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qsl, unquote

from learner_app.errors import DatabaseNotConfigured, SettingsError
from learner_app.settings import Settings

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
DEFAULT_PORT = 5432
MAX_PORT = 65_535
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
UNENCRYPTED_MODES = SSL_MODES[:3]
ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
NOT_FOR_US = (
    "channel_binding",
    "connect_timeout",
    "fallback_application_name",
    "gssencmode",
    "gsslib",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "sslcompression",
    "sslnegotiation",
    "tcp_user_timeout",
)
"""Options of libpq that providers put into their URLs; the driver has none of them."""

ESCAPES = "write # as %23, @ as %40, / as %2F and ? as %3F in user and password"

Tls = ssl.SSLContext | Literal[False, "allow", "prefer"]


@dataclass(frozen=True)
class Target:
    """A database and how it is reached; its text names no password."""

    hosts: tuple[str, ...]
    """Names, addresses or folders of unix sockets."""
    ports: tuple[int, ...]
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    sslmode: str | None = None
    root_certificate: str | None = None
    session_attributes: str = "any"
    server_settings: dict[str, str] = field(default_factory=dict)
    is_development: bool = False
    """Whether it is the database of ``learner up``."""

    def __str__(self) -> str:
        places = ",".join(
            host if host.startswith("/") else f"{host}:{port}"
            for host, port in zip(self.hosts, self.ports, strict=True)
        )
        return f"{self.user}@{places}/{self.database}"

    @property
    def is_local(self) -> bool:
        """Whether it is reached over unix sockets only."""
        return all(host.startswith("/") for host in self.hosts)

    def connect_arguments(self, settings: Settings) -> dict[str, Any]:
        """Arguments of ``asyncpg.connect`` but for the time-outs.

        Raises:
            SettingsError: the wanted encryption is not allowed or its certificate not readable.
        """
        return {
            "host": list(self.hosts),
            "port": list(self.ports),
            "user": self.user,
            "password": self.password or "",  # None would look into PGPASSWORD and files
            "direct_tls": False,
            "database": self.database,
            "ssl": False if self.is_local else tls(settings, self),
            "target_session_attrs": self.session_attributes,
            "server_settings": dict(self.server_settings),
        }


def find_target(settings: Settings) -> Target:
    """DATABASE_URL, else DB_HOST and its fellows, else the database of a running ``learner up``.

    Raises:
        DatabaseNotConfigured: there is none of them.
        SettingsError: what there is cannot be understood.
    """
    if settings.database_url:
        return parse_url("DATABASE_URL", settings.database_url.get_secret_value())
    if settings.db_host:
        return _from_parts(settings)
    try:
        running = json.loads(settings.running_file.read_text())
        target = parse_url("running.json", running["url"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        raise DatabaseNotConfigured(
            "no database: start one with `learner up`, or set DATABASE_URL"
        ) from None
    return Target(target.hosts, target.ports, target.user, target.database, is_development=True)


def _from_parts(settings: Settings) -> Target:
    if not settings.db_name or not settings.db_user:
        raise SettingsError("DB_HOST needs DB_NAME and DB_USER beside it")
    password = settings.db_password.get_secret_value() if settings.db_password else None
    return Target(
        hosts=(settings.db_host or "",),
        ports=(settings.db_port,),
        user=settings.db_user,
        database=settings.db_name,
        password=password,
    )


def parse_url(setting: str, url: str) -> Target:
    """Understand a PostgreSQL URL; mistakes name the setting and what is allowed, never a value.

    Raises:
        SettingsError: it is no such URL.
    """
    scheme, separator, rest = url.strip().partition("://")
    if not separator or scheme not in SCHEMES:
        allowed = ", ".join(f"{name}://" for name in SCHEMES)
        raise SettingsError(f"{setting} must begin with one of {allowed}")
    # Not urlsplit: some versions of it refuse an IPv6 address among several hosts.
    before_query, _, query = rest.partition("?")
    netloc, _, path = before_query.partition("/")
    if "#" in rest or "@" in path or netloc.count("@") > 1:
        raise SettingsError(f"{setting}: {ESCAPES}")
    try:
        options = _options(query)
    except ValueError:
        raise SettingsError(f"{setting} is no valid URL; {ESCAPES}") from None
    credentials, _, places = netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    hosts, ports = _places(setting, options.pop("host", "") or unquote(places), options)
    user = options.pop("user", unquote(user)) or getpass.getuser()
    for name in NOT_FOR_US:
        options.pop(name, None)
    attributes = _one_of(setting, "target_session_attrs", options, ATTRIBUTES)
    return Target(
        hosts=hosts,
        ports=ports,
        user=user,
        password=options.pop("password", unquote(password)) or None,
        database=options.pop("dbname", unquote(path)) or user,
        sslmode=_one_of(setting, "sslmode", options, SSL_MODES),
        root_certificate=options.pop("sslrootcert", None),
        session_attributes=attributes or "any",
        server_settings=options,
    )


def _options(query: str) -> dict[str, str]:
    if not query:
        return {}
    return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True))


def _places(
    setting: str, text: str, options: dict[str, str]
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    default = _port(setting, options.pop("port", ""))
    hosts, ports = [], []
    for place in text.split(","):
        if place.startswith("/"):
            folder, _, number = place.rpartition(":")
            host, port = (folder, number) if folder and number.isdecimal() else (place, "")
        elif place.startswith("["):
            if "]" not in place:
                raise SettingsError(f"{setting} is no valid URL; {ESCAPES}")
            host, _, port = place[1:].partition("]")
            port = port.removeprefix(":")
        else:
            host, _, port = place.partition(":")
        hosts.append(host or "localhost")
        ports.append(_port(setting, port) if port else default)
    return tuple(hosts), tuple(ports)


def _port(setting: str, text: str) -> int:
    if not text:
        return DEFAULT_PORT
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= MAX_PORT):
        raise SettingsError(f"{setting}: a port is a number from 1 to {MAX_PORT}")
    return int(text)


def _one_of(
    setting: str, name: str, options: dict[str, str], allowed: tuple[str, ...]
) -> str | None:
    value = options.pop(name, None)
    if value is not None and value not in allowed:
        raise SettingsError(f"{setting}: {name} is one of {', '.join(allowed)}")
    return value


def tls(settings: Settings, target: Target) -> Tls:
    """How the connection to the target is encrypted, as asyncpg wants it.

    In production it is encrypted and the certificate verified; giving up the second takes an
    explicit DB_SSL_VERIFY=false, giving up the first is an error.
    """
    mode = target.sslmode or _mode_from_settings(settings)
    if mode in UNENCRYPTED_MODES:
        if settings.app_env == "production":
            name = "sslmode" if target.sslmode else "DB_SSL"
            raise SettingsError(
                f"APP_ENV is production and {name} allows an unencrypted connection: "
                "use sslmode=verify-full, or DB_SSL=true"
            )
        return False if mode == "disable" else "allow" if mode == "allow" else "prefer"
    if not verifies(settings, target):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = _verifying_context(target.root_certificate or settings.db_ssl_root_cert)
    context.check_hostname = mode != "verify-ca"
    return context


def verifies(settings: Settings, target: Target) -> bool:
    """Whether a certificate is verified; DB_SSL_VERIFY=false gives way to an explicit verify-*."""
    return settings.db_ssl_verify or (target.sslmode or "").startswith("verify")


def _mode_from_settings(settings: Settings) -> str:
    if settings.db_ssl is not None:
        return "verify-full" if settings.db_ssl else "disable"
    if settings.app_env == "production" or settings.db_ssl_root_cert:
        return "verify-full"
    return "prefer"


def _verifying_context(root_certificate: str | Path | None) -> ssl.SSLContext:
    if root_certificate in (None, "system"):
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=root_certificate)
    except FileNotFoundError:
        raise SettingsError("DB_SSL_ROOT_CERT (or sslrootcert): there is no such file") from None
    except (OSError, ssl.SSLError):
        raise SettingsError(
            "DB_SSL_ROOT_CERT (or sslrootcert) is no readable PEM certificate"
        ) from None
