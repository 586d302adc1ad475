"""The certificate that sessions are served with."""

import ssl
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography import x509

from backing import ids
from backing.settings import ConfigurationError

_CERTIFICATE: Final = "RELAY_CERTIFICATE_FILE"
_KEY: Final = "RELAY_PRIVATE_KEY_FILE"
# For TLS 1.2; those of TLS 1.3 are all good.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"


class Certificates:
    """Gives each new session the context it is to be served with.

    Args:
        context: what sessions are served with until there is a better one.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    @classmethod
    def from_files(cls, certificate: Path, key: Path) -> "Certificates":
        """Read a certificate with its chain, and its key.

        Raises:
            ConfigurationError: one of them cannot be read, they do not belong together, or it is not valid today.
        """
        _check_dates(certificate, _read(_CERTIFICATE, certificate), ids.now())
        _read(_KEY, key)
        context = _context()
        try:
            # The empty password keeps OpenSSL from asking for one on the terminal.
            context.load_cert_chain(certificate, key, password="")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                raise ConfigurationError(f"{_KEY}: {key} is not the key of the certificate") from None
            raise ConfigurationError(f"{_KEY}: {key} holds no usable key for the certificate: {error.reason}") from None
        return cls(context)

    def current(self) -> ssl.SSLContext:
        """The context for a session that begins now."""
        return self._context


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{setting}: {path} cannot be read: {error.strerror}") from None


def _check_dates(path: Path, pem: bytes, now: datetime) -> None:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise ConfigurationError(f"{_CERTIFICATE}: {path} is not a PEM certificate") from None
    if certificate.not_valid_after_utc <= now:
        raise ConfigurationError(f"{_CERTIFICATE}: {path} expired on {_day(certificate.not_valid_after_utc)}")
    if certificate.not_valid_before_utc > now:
        raise ConfigurationError(f"{_CERTIFICATE}: {path} is not valid before {_day(certificate.not_valid_before_utc)}")


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="minutes")


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # A ticket is good only at the task that made it, and few mail clients resume.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context
