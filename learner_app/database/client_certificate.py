"""Client certificate: the files with which the client authenticates itself over TLS."""

from __future__ import annotations

import os
import ssl
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from learner_app.errors import SettingsError

if TYPE_CHECKING:
    from learner_app.settings import Settings

CERTIFICATE_LINE = b"-----BEGIN CERTIFICATE-----"


class _Names(NamedTuple):
    """Names of the settings, or of the URL options, that messages show."""

    certificate: str
    key: str
    password: str


SETTINGS = _Names("DB_SSL_CERT", "DB_SSL_KEY", "DB_SSL_KEY_PASSWORD")


@dataclass(frozen=True)
class ClientCertificate:
    """Paths of a PEM certificate and its private key, or of one file with both."""

    certificate: str
    key: str | None = None
    password: str | None = field(default=None, repr=False)
    names: _Names = SETTINGS

    @classmethod
    def from_options(cls, setting: str, options: dict[str, str]) -> Self | None:
        """Remove the certificate's options from those of a URL and return the certificate, or None.

        Args:
            setting: name of the setting with the URL, for messages.
            options: options of the URL; ``sslcert``, ``sslkey`` and ``sslpassword`` are removed.

        Raises:
            SettingsError: a key or its password is set without a certificate.
        """
        names = _Names(*(f"{setting}, {name}" for name in ("sslcert", "sslkey", "sslpassword")))
        values = [options.pop(name, None) for name in ("sslcert", "sslkey", "sslpassword")]
        return cls._from_values(names, *values)

    @classmethod
    def from_settings(cls, settings: Settings) -> Self | None:
        """Return the certificate of DB_SSL_CERT, or None.

        Raises:
            SettingsError: DB_SSL_KEY or DB_SSL_KEY_PASSWORD is set without DB_SSL_CERT.
        """
        key, password = settings.db_ssl_key, settings.db_ssl_key_password
        return cls._from_values(
            SETTINGS,
            str(settings.db_ssl_cert) if settings.db_ssl_cert else None,
            str(key) if key else None,
            password.get_secret_value() if password else None,
        )

    @classmethod
    def _from_values(
        cls, names: _Names, certificate: str | None, key: str | None, password: str | None
    ) -> Self | None:
        if certificate:
            return cls(certificate, key or None, password or None, names)
        if key or password:
            name = names.key if key else names.password
            raise SettingsError(
                f"{name} is set without {names.certificate}: set both, or remove {name}"
            )
        return None

    def load_into(self, context: ssl.SSLContext) -> None:
        """Load certificate and key into a TLS context.

        Raises:
            SettingsError: a file is missing, unreadable, malformed or readable by other users,
                the password of the key is wrong, or the key belongs to another certificate.
        """
        text = _read(self.names.certificate, self.certificate)
        if CERTIFICATE_LINE not in text:
            raise SettingsError(f"{self.names.certificate}: the file contains no PEM certificate")
        if self.key:
            _read(self.names.key, self.key)
        _require_private_file(*self._key_file())
        try:
            context.load_cert_chain(self.certificate, self.key, self._key_password)
        except (ssl.SSLError, ValueError) as error:  # ValueError: the password is too long
            raise SettingsError(self._describe(error)) from None

    def libpq_variables(self) -> dict[str, str]:
        """Return the environment variables that make libpq use the same files.

        Raises:
            SettingsError: the key is encrypted, and libpq has no variable for the password.
        """
        if self.password is not None:
            raise SettingsError(
                f"{self.names.password}: the PostgreSQL client programs cannot use an encrypted "
                f"key, name an unencrypted one in {self.names.key}"
            )
        return {"PGSSLCERT": self.certificate, "PGSSLKEY": self._key_file()[1]}

    def _key_file(self) -> tuple[str, str]:
        """Return the name of the setting and the path of the file with the private key."""
        if self.key:
            return self.names.key, self.key
        return self.names.certificate, self.certificate

    def _key_password(self) -> str:
        # a callback even without a password, or OpenSSL would ask for it on the terminal
        if self.password is None:
            raise SettingsError(
                f"{self._key_file()[0]}: the key is encrypted and {self.names.password} "
                "is not set: set it, or decrypt the key"
            )
        return self.password

    def _describe(self, error: Exception) -> str:
        reason = getattr(error, "reason", None) or ""
        if "MISMATCH" in reason:
            return f"{self._key_file()[0]} is not the key of {self.names.certificate}"
        if self.password is not None:
            return (
                f"{self._key_file()[0]}: the file contains no PEM key, "
                f"or {self.names.password} is wrong"
            )
        if self.key is None:
            return f"{self.names.key} is not set and {self.names.certificate} contains no valid key"
        return f"{self.names.certificate}, or {self.names.key}, is not a valid PEM file"


def _read(name: str, path: str) -> bytes:
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # a path with NUL raises ValueError here
            return file.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a valid path"
        raise SettingsError(f"{name}: cannot read the file ({reason})") from None


def _require_private_file(name: str, path: str) -> None:
    """Raise SettingsError if other users can read the private key.

    The rule is libpq's: a key that belongs to root may be readable by its group.
    """
    status = os.stat(path)  # noqa: PTH116  # a str, as open() above
    allowed = stat.S_IRWXU | stat.S_IRGRP if status.st_uid == 0 else stat.S_IRWXU
    if os.name == "posix" and stat.S_ISREG(status.st_mode) and status.st_mode & 0o777 & ~allowed:
        raise SettingsError(
            f"{name}: other users can access the private key: run chmod 600 on the file"
        )
