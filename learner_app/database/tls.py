"""TLS of a connection: encryption mode, trusted certificate authorities, client certificate."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from learner_app.database.client_certificate import ClientCertificate
from learner_app.database.url_options import take_choice
from learner_app.errors import SettingsError
from learner_app.settings import Settings

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
UNENCRYPTED_MODES = SSL_MODES[:3]

SslArgument = ssl.SSLContext | Literal[False, "allow", "prefer"]


@dataclass(frozen=True)
class TlsOptions:
    """TLS options of a URL, completed by the DB_SSL settings when a connection is opened."""

    sslmode: str | None = None
    root_certificate: str | None = None
    client_certificate: ClientCertificate | None = None

    @classmethod
    def from_options(cls, setting: str, options: dict[str, str]) -> Self:
        """Remove the ``ssl…`` options from those of a URL and return them.

        Raises:
            SettingsError: the value of ``sslmode`` is unknown, or a key is set without a
                certificate.
        """
        return cls(
            take_choice(setting, "sslmode", options, SSL_MODES),
            options.pop("sslrootcert", None),
            ClientCertificate.from_options(setting, options),
        )

    def ssl_argument(self, settings: Settings) -> SslArgument:
        """Return the ``ssl`` argument of ``asyncpg.connect``.

        In production the connection is always encrypted, and the server's certificate is verified
        unless DB_SSL_VERIFY is false.

        Raises:
            SettingsError: the mode allows an unencrypted connection in production or with a client
                certificate, or a certificate file is not usable.
        """
        client = self.find_client_certificate(settings)
        mode = self.sslmode or self._mode_from_settings(settings, client)
        if mode in UNENCRYPTED_MODES:
            self._refuse_unencrypted(settings, client)
            return False if mode == "disable" else "allow" if mode == "allow" else "prefer"
        context = self._make_context(settings, mode)
        if client:
            client.load_into(context)
        return context

    def verifies_server(self, settings: Settings) -> bool:
        """Return True if the server's certificate is verified.

        An explicit ``sslmode=verify-ca`` or ``verify-full`` takes precedence over
        DB_SSL_VERIFY=false.
        """
        return settings.db_ssl_verify or (self.sslmode or "").startswith("verify")

    def find_client_certificate(self, settings: Settings) -> ClientCertificate | None:
        """Return the client certificate of the URL, else that of DB_SSL_CERT, else None.

        Raises:
            SettingsError: DB_SSL_KEY or DB_SSL_KEY_PASSWORD is set without DB_SSL_CERT.
        """
        return self.client_certificate or ClientCertificate.from_settings(settings)

    def _mode_from_settings(self, settings: Settings, client: ClientCertificate | None) -> str:
        if settings.db_ssl is not None:
            return "verify-full" if settings.db_ssl else "disable"
        has_certificate = self.root_certificate or settings.db_ssl_root_cert or client
        return "verify-full" if settings.app_env == "production" or has_certificate else "prefer"

    def _refuse_unencrypted(self, settings: Settings, client: ClientCertificate | None) -> None:
        if settings.app_env == "production":
            reason = "APP_ENV is production"
        elif client:
            reason = f"{client.names.certificate} is set"
        else:
            return
        name = "sslmode" if self.sslmode else "DB_SSL"
        raise SettingsError(
            f"{reason} and {name} allows an unencrypted connection: "
            "use sslmode=verify-full, or DB_SSL=true"
        )

    def _make_context(self, settings: Settings, mode: str) -> ssl.SSLContext:
        if not self.verifies_server(settings):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        context = _verifying_context(self.root_certificate or settings.db_ssl_root_cert)
        context.check_hostname = mode != "verify-ca"
        return context


def _verifying_context(root_certificate: str | Path | None) -> ssl.SSLContext:
    if root_certificate in (None, "system"):
        return ssl.create_default_context()
    try:
        return ssl.create_default_context(cafile=root_certificate)
    except FileNotFoundError:
        raise SettingsError(
            "DB_SSL_ROOT_CERT (or sslrootcert): the file does not exist: correct the path"
        ) from None
    except (OSError, ssl.SSLError):
        raise SettingsError(
            "DB_SSL_ROOT_CERT (or sslrootcert) is not a readable PEM certificate"
        ) from None
