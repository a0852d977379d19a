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

from learner_app.database.client_certificate import ClientCertificate
from learner_app.database.url_options import take_session_settings
from learner_app.errors import DatabaseNotConfigured, SettingsError
from learner_app.settings import Settings, warn_once

SCHEMES = ("postgresql", "postgres", "postgresql+asyncpg")
DEFAULT_PORT = 5432
MAX_PORT = 65_535
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
UNENCRYPTED_MODES = SSL_MODES[:3]
ATTRIBUTES = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
ESCAPES = "write # as %23, @ as %40, / as %2F and ? as %3F in user and password"

Tls = ssl.SSLContext | Literal[False, "allow", "prefer"]


@dataclass(frozen=True)
class DatabaseUrl:
    """A database and how it is reached; its text names no password."""

    hosts: tuple[str, ...]
    """Names, addresses or folders of unix sockets."""
    ports: tuple[int, ...]
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    sslmode: str | None = None
    root_certificate: str | None = None
    client_certificate: ClientCertificate | None = None
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


def find_database_url(settings: Settings) -> DatabaseUrl:
    """Return the database of DATABASE_URL, of DB_HOST, or of a running ``learner up``.

    DATABASE_URL takes precedence over DB_HOST and the settings beside it.

    Raises:
        DatabaseNotConfigured: there is none of them.
        SettingsError: a setting is malformed, or another one that it requires is missing.
    """
    if settings.database_url:
        target = parse_url("DATABASE_URL", settings.database_url.get_secret_value())
        _report_other_database(settings, target)
        return target
    if settings.has_database:
        return _from_parts(settings)
    try:
        running = json.loads(settings.running_file.read_text())
        target = parse_url("running.json", running["url"])
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError):
        raise DatabaseNotConfigured(
            "no database is configured: start one with `learner up`, or set DATABASE_URL"
        ) from None
    return DatabaseUrl(
        target.hosts, target.ports, target.user, target.database, is_development=True
    )


def refuse_other_database(settings: Settings) -> None:
    """Raise SettingsError if DATABASE_URL and the ``DB_*`` settings name different databases.

    For commands that delete: they do not rely on the precedence of DATABASE_URL.
    """
    if settings.database_url is None:
        return
    target = parse_url("DATABASE_URL", settings.database_url.get_secret_value())
    if names := _differing_parts(settings, target):
        raise SettingsError(
            f"DATABASE_URL and {', '.join(names)} name different databases: remove one of them"
        )


def _report_other_database(settings: Settings, target: DatabaseUrl) -> None:
    """Warn of ``DB_*`` settings that DATABASE_URL overrides.

    Raises:
        SettingsError: they are no whole database, since DB_HOST is not set.
    """
    names = _differing_parts(settings, target)
    if names and settings.db_host is None:
        refuse_other_database(settings)
    if names:
        warn_once(f"DATABASE_URL takes precedence: {', '.join(names)} differ from it, ignored")


def _differing_parts(settings: Settings, target: DatabaseUrl) -> list[str]:
    """Return the names of the ``DB_*`` settings that differ from the target."""
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


def _from_parts(settings: Settings) -> DatabaseUrl:
    missing = [name for name in ("DB_NAME", "DB_USER") if not getattr(settings, name.lower())]
    if missing:
        raise SettingsError(f"DB_HOST is set without {' and '.join(missing)}")
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

    Raises:
        SettingsError: the URL is malformed or has an unsupported option; the message names the
            setting and what is allowed, never a value.
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
    if "\0" in unquote(rest):  # ends a string of the protocol, so the rest would be another one
        raise SettingsError(f"{setting} must not contain a NUL character (%00)")
    try:
        options = _options(query)
    except ValueError:
        raise SettingsError(f"{setting} is no valid URL; {ESCAPES}") from None
    credentials, _, places = netloc.rpartition("@")
    user, _, password = credentials.partition(":")
    hosts, ports = _places(setting, options.pop("host", "") or unquote(places), options)
    user = options.pop("user", unquote(user)) or getpass.getuser()
    attributes = _one_of(setting, "target_session_attrs", options, ATTRIBUTES)
    return DatabaseUrl(
        hosts=hosts,
        ports=ports,
        user=user,
        password=options.pop("password", unquote(password)) or None,
        database=options.pop("dbname", unquote(path)) or user,
        sslmode=_one_of(setting, "sslmode", options, SSL_MODES),
        root_certificate=options.pop("sslrootcert", None),
        client_certificate=ClientCertificate.from_options(setting, options),
        session_attributes=attributes or "any",
        server_settings=take_session_settings(setting, options),
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


def tls(settings: Settings, target: DatabaseUrl) -> Tls:
    """Return the encryption of a connection, as the ``ssl`` argument of asyncpg.

    In production the connection is encrypted and the certificate verified. DB_SSL_VERIFY=false
    turns off the verification only.

    Raises:
        SettingsError: encryption is off in production or despite a client certificate, or a
            certificate file is not usable.
    """
    client = target.client_certificate or ClientCertificate.from_settings(settings)
    mode = target.sslmode or _mode_from_settings(settings, target, client)
    if mode in UNENCRYPTED_MODES:
        _refuse_unencrypted(settings, target, client)
        return False if mode == "disable" else "allow" if mode == "allow" else "prefer"
    context = _server_context(settings, target, mode)
    if client:
        client.load_into(context)
    return context


def _refuse_unencrypted(
    settings: Settings, target: DatabaseUrl, client: ClientCertificate | None
) -> None:
    name = "sslmode" if target.sslmode else "DB_SSL"
    if settings.app_env == "production":
        raise SettingsError(
            f"APP_ENV is production and {name} allows an unencrypted connection: "
            "use sslmode=verify-full, or DB_SSL=true"
        )
    if client:
        raise SettingsError(
            f"{client.names.certificate} is set and {name} allows an unencrypted connection: "
            "use sslmode=verify-full, or DB_SSL=true"
        )


def _server_context(settings: Settings, target: DatabaseUrl, mode: str) -> ssl.SSLContext:
    """Return a context that verifies the server as the mode and DB_SSL_VERIFY say."""
    if not verifies(settings, target):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    context = _verifying_context(target.root_certificate or settings.db_ssl_root_cert)
    context.check_hostname = mode != "verify-ca"
    return context


def verifies(settings: Settings, target: DatabaseUrl) -> bool:
    """Return True if the server's certificate is verified.

    An explicit ``sslmode=verify-ca`` or ``verify-full`` takes precedence over DB_SSL_VERIFY=false.
    """
    return settings.db_ssl_verify or (target.sslmode or "").startswith("verify")


def _mode_from_settings(
    settings: Settings, target: DatabaseUrl, client: ClientCertificate | None
) -> str:
    if settings.db_ssl is not None:
        return "verify-full" if settings.db_ssl else "disable"
    has_certificate = target.root_certificate or settings.db_ssl_root_cert or client
    return "verify-full" if settings.app_env == "production" or has_certificate else "prefer"


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
