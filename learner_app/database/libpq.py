"""Environment variables that make psql, pg_dump and pg_restore connect as this package does."""

import ssl

from learner_app.database.client_certificate import ClientCertificate
from learner_app.database.dsn import DatabaseUrl, tls
from learner_app.settings import Settings


def libpq_environment(target: DatabaseUrl, settings: Settings) -> dict[str, str]:
    """Return PG* variables for the target, with the password, for a child process only.

    Raises:
        SettingsError: the wanted encryption is not allowed, or its certificate is not readable.
    """
    variables = {
        "PGHOST": ",".join(target.hosts),
        "PGPORT": ",".join(str(port) for port in target.ports),
        "PGUSER": target.user,
        "PGPASSWORD": target.password or "",
        "PGDATABASE": target.database,
        "PGAPPNAME": settings.db_application_name,
        "PGTARGETSESSIONATTRS": target.session_attributes,
        "PGOPTIONS": " ".join(
            f"-c {name}={_escaped(value)}" for name, value in target.server_settings.items()
        ),
        "PGCONNECT_TIMEOUT": str(max(2, round(settings.db_connect_timeout))),
    }
    return variables | ({} if target.is_local else _encryption(target, settings))


def _encryption(target: DatabaseUrl, settings: Settings) -> dict[str, str]:
    wanted = tls(settings, target)
    if not isinstance(wanted, ssl.SSLContext):
        return {"PGSSLMODE": "disable" if wanted is False else wanted}
    client = target.client_certificate or ClientCertificate.from_settings(settings)
    variables = client.libpq_variables() if client else {}
    if wanted.verify_mode is ssl.CERT_NONE:
        return variables | {"PGSSLMODE": "require"}
    mode = "verify-full" if wanted.check_hostname else "verify-ca"
    return variables | {"PGSSLMODE": mode, "PGSSLROOTCERT": _authorities(target, settings)}


def _authorities(target: DatabaseUrl, settings: Settings) -> str:
    """Return the file of trusted authorities, since libpq before 16 does not know ``system``."""
    named = target.root_certificate or settings.db_ssl_root_cert
    if named in (None, "system"):
        return ssl.get_default_verify_paths().cafile or "system"
    return str(named)


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace(" ", r"\ ")
