"""Options of a PostgreSQL URL: ignored ones, unsupported ones, and session settings."""

import re
from types import MappingProxyType

from learner_app.errors import SettingsError

IGNORED_LIBPQ_OPTIONS = frozenset(
    {
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
        "load_balance_hosts",
        "sslcompression",
        "sslnegotiation",
        "sslsni",
        "tcp_user_timeout",
    }
)
"""Options of libpq that hosting providers add to their URLs and that have no effect in asyncpg."""

UNSUPPORTED_VALUES = MappingProxyType({"gssencmode": "require", "load_balance_hosts": "random"})
"""Values of ignored options that request what asyncpg cannot do."""

REPLACEMENTS = MappingProxyType(
    {
        # Prisma
        "pgbouncer": "set DB_PGBOUNCER=true",
        "schema": "use search_path",
        "connection_limit": "set DB_POOL_MAX",
        "pool_timeout": "set DB_ACQUIRE_TIMEOUT",
        "socket_timeout": "set DB_COMMAND_TIMEOUT",
        "max_connection_lifetime": "set DB_POOL_AGE",
        "max_idle_connection_lifetime": "set DB_POOL_IDLE",
        "sslaccept": "use sslmode, or set DB_SSL_VERIFY",
        "sslidentity": "use sslcert and sslkey with PEM files",
        # SQLAlchemy, asyncpg, Rails, pgx
        "async_fallback": "remove it",
        "command_timeout": "set DB_COMMAND_TIMEOUT",
        "max_overflow": "set DB_POOL_MAX",
        "max_size": "set DB_POOL_MAX",
        "min_size": "set DB_POOL_MIN",
        "pool": "set DB_POOL_MAX",
        "pool_max_conns": "set DB_POOL_MAX",
        "pool_min_conns": "set DB_POOL_MIN",
        "pool_pre_ping": "remove it, idle connections are always validated",
        "pool_recycle": "set DB_POOL_AGE",
        "pool_size": "set DB_POOL_MAX",
        "prepared_statement_cache_size": "set DB_PGBOUNCER=true for PgBouncer",
        "prepared_statement_name_func": "set DB_PGBOUNCER=true for PgBouncer",
        "prepared_statements": "set DB_PGBOUNCER=true for PgBouncer",
        "statement_cache_size": "set DB_PGBOUNCER=true for PgBouncer",
        "server_settings": "name each setting as an option of its own",
        "timeout": "set DB_CONNECT_TIMEOUT",
        # JDBC
        "applicationname": "use application_name",
        "currentschema": "use search_path",
        "logintimeout": "set DB_CONNECT_TIMEOUT",
        "preparethreshold": "set DB_PGBOUNCER=true for PgBouncer",
        "sockettimeout": "set DB_COMMAND_TIMEOUT",
        "ssl": "use sslmode",
        # libpq and the protocol
        "client_encoding": "remove it, the encoding is always UTF8",
        "database": "put the name into the path, or use dbname",
        "encoding": "remove it, the encoding is always UTF8",
        "hostaddr": "use host",
        "passfile": "put the password into the URL, or set DB_PASSWORD",
        "replication": "remove it",
        "require_auth": "remove it",
        "requirepeer": "remove it",
        "requiressl": "use sslmode",
        "service": "put host, database and user into the URL",
        "servicefile": "put host, database and user into the URL",
        "ssl_max_protocol_version": "remove it, the newest version is used",
        "ssl_min_protocol_version": "remove it, TLS 1.2 is the minimum",
        "sslcertmode": "remove it",
        "sslcrl": "remove it",
        "sslcrldir": "remove it",
    }
)
"""Options of other drivers and tools, in lower case, with what to use instead.

asyncpg would send them to the server as session settings. The server would then refuse the
connection, or misinterpret ``database`` and ``replication``.
"""

SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*")


def find_session_settings(setting: str, options: dict[str, str]) -> dict[str, str]:
    """Return the options that are session settings, such as ``search_path``.

    Args:
        setting: name of the setting with the URL, for messages.
        options: the URL's options without those of the connection.

    Raises:
        SettingsError: an option belongs to another driver or tool, its name is not valid for a
            server setting, or its value is not supported.
    """
    for name, value in options.items():
        if advice := REPLACEMENTS.get(name.lower()):
            raise SettingsError(f"{setting}: the option {name} is not supported: {advice}")
        if not SETTING_NAME.fullmatch(name):
            raise SettingsError(
                f"{setting}: the name of an option is not valid for a server setting: "
                "correct or remove the option"
            )
        if UNSUPPORTED_VALUES.get(name) == value:
            raise SettingsError(f"{setting}: {name}={value} is not supported: remove it")
    return {name: value for name, value in options.items() if name not in IGNORED_LIBPQ_OPTIONS}


def take_choice(
    setting: str, name: str, options: dict[str, str], choices: tuple[str, ...]
) -> str | None:
    """Remove an option with a fixed set of values from those of a URL and return its value.

    Raises:
        SettingsError: the option has a value that is not in ``choices``.
    """
    value = options.pop(name, None)
    if value is not None and value not in choices:
        raise SettingsError(f"{setting}: {name} must be one of {', '.join(choices)}")
    return value
