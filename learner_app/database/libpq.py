"""Environment variables of libpq, for psql, pg_dump and pg_restore."""

import ssl

from learner_app.database.dsn import DatabaseUrl
from learner_app.settings import Settings


def libpq_environment(target: DatabaseUrl, settings: Settings) -> dict[str, str]:
    """Return the PG* variables with which libpq connects as the engine does.

    They contain the password: pass them to a child process only.

    Raises:
        SettingsError: the encryption mode is not allowed, a certificate is not usable, or the key
            of the client certificate is encrypted.
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
            f"-c {name}={_escape(value)}" for name, value in target.server_settings.items()
        ),
        "PGCONNECT_TIMEOUT": str(max(2, round(settings.db_connect_timeout))),
    }
    return variables | ({} if target.is_local else _tls_variables(target, settings))


def _tls_variables(target: DatabaseUrl, settings: Settings) -> dict[str, str]:
    argument = target.tls.ssl_argument(settings)
    if not isinstance(argument, ssl.SSLContext):
        return {"PGSSLMODE": "disable" if argument is False else argument}
    client = target.tls.find_client_certificate(settings)
    variables = client.libpq_variables() if client else {}
    if argument.verify_mode is ssl.CERT_NONE:
        return variables | {"PGSSLMODE": "require"}
    mode = "verify-full" if argument.check_hostname else "verify-ca"
    return variables | {"PGSSLMODE": mode, "PGSSLROOTCERT": _root_certificate(target, settings)}


def _root_certificate(target: DatabaseUrl, settings: Settings) -> str:
    """Return the path of the trusted certificate authorities.

    ``system`` is replaced by the file of the operating system, as libpq before 16 does not know it.
    """
    named = target.tls.root_certificate or settings.db_ssl_root_cert
    if named in (None, "system"):
        return ssl.get_default_verify_paths().cafile or "system"
    return str(named)


def _escape(value: str) -> str:
    """Return the value as PGOPTIONS requires it, where a space separates arguments."""
    return value.replace("\\", r"\\").replace(" ", r"\ ")
