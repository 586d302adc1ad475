"""Encryption: what is trusted, and what to tell about a certificate that is not."""

import base64
import binascii
import hashlib
import ssl
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from client.errors import TlsError, UntrustedError, UsageError

_AUTHORITY = (
    "give the authority's certificate (or the server's own) with --ca FILE, if you know that it is the right one"
)
_NAME = "connect by one of its names, or say with --server-name NAME whom you expect"
_DATE = "the server needs a valid certificate; check this machine's clock, too"
# OpenSSL's X509_V_ERR_* (x509_vfy.h): what it means, and what to do about it.
_REASONS: Mapping[int, tuple[str, str]] = {
    9: ("it is not yet valid", _DATE),
    10: ("it has expired", _DATE),
    18: ("it is self-signed, no authority vouches for it", _AUTHORITY),
    19: ("it comes from an unknown authority (the root of its chain is not trusted here)", _AUTHORITY),
    20: ("it comes from an unknown authority", _AUTHORITY),
    21: ("it comes from an unknown authority (the server sent no chain to a trusted one)", _AUTHORITY),
    62: ("name mismatch, it is for another server", _NAME),
    64: ("name mismatch, it is for another IP address", _NAME),
}


@dataclass(frozen=True, slots=True)
class Trust:
    """Which certificates are good: those of the machine's authorities, or of `ca_file`; and only the pinned keys."""

    ca_file: Path | None = None
    insecure: bool = False
    pins: tuple[bytes, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Return the context of all connections of a run."""
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError) as error:
            raise UsageError(f"--ca {self.ca_file}: no certificate can be read from it: {error}") from error
        # A server's own certificate in --ca is enough, as curl and Python 3.13 have it.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
        if self.insecure:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.sslobject_class = TimedHandshake
        return context

    def check_pin(self, certificate: bytes, server: str) -> None:
        """Refuse a key that is not pinned; --insecure does not switch this off (TLS-015)."""
        if self.pins and pin_of(certificate) not in self.pins:
            wanted = " or ".join(map(pin_text, self.pins))
            raise TlsError(
                f"TLS: {server} has another key than the pinned one (pin mismatch: expected {wanted}).\n"
                f"{description(certificate, datetime.now(UTC))}\n"
                "What to do: if the server's key was changed on purpose, pin the new one; if not, do not send."
            )


class TimedHandshake(ssl.SSLObject):
    """TLS on one connection, with the time its handshake took."""

    started: float | None = None
    seconds = 0.0

    def do_handshake(self) -> None:
        """Go on with the handshake; asyncio calls this until nothing more is to be read."""
        self.started = self.started or time.monotonic()
        super().do_handshake()
        self.seconds = time.monotonic() - self.started


def parse_pin(text: str) -> bytes:
    """Read a pin: SHA-256 of the public key (SPKI), in hex or base64, also as curl writes it (sha256//...)."""
    bare = text.removeprefix("sha256//").removeprefix("sha256:").replace(":", "")
    for decode in (bytes.fromhex, lambda value: base64.b64decode(value, validate=True)):
        try:
            pin = decode(bare)
        except (ValueError, binascii.Error):
            continue
        if len(pin) == hashlib.sha256().digest_size:
            return pin
    raise UsageError(f"--pin {text}: not a SHA-256 in hex or base64")


def pin_text(pin: bytes) -> str:
    """Write a pin as --pin (and curl) takes it."""
    return f"sha256//{base64.b64encode(pin).decode()}"


def pin_of(certificate: bytes) -> bytes:
    """Return the SHA-256 of a certificate's SubjectPublicKeyInfo (RFC 7469 section 2.4)."""
    key = x509.load_der_x509_certificate(certificate).public_key()
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def untrusted(error: UntrustedError, server: str, certificate: bytes | None) -> TlsError:
    """Tell what is wrong with which certificate, and what can be done (CLIENT-006)."""
    reason, advice = _REASONS.get(error.code, (error.reason, _AUTHORITY))
    if certificate is None:
        details = "  (the server did not show the certificate a second time)"
    else:
        details = description(certificate, datetime.now(UTC))
    return TlsError(
        f"TLS: the certificate of {server} is not trusted: {reason}.\n{details}\n"
        f"What to do: {advice}; --insecure skips the check, for tests only."
    )


def description(certificate: bytes, now: datetime) -> str:
    """Describe a certificate, one fact per line."""
    try:
        parsed = x509.load_der_x509_certificate(certificate)
        facts = [
            ("subject", parsed.subject.rfc4514_string() or "(empty)"),
            ("issuer", parsed.issuer.rfc4514_string() or "(empty)"),
            ("valid", _validity(parsed, now)),
            ("names", ", ".join(_names(parsed)) or "(none)"),
            ("key pin", pin_text(pin_of(certificate))),
        ]
    except ValueError as error:
        facts = [("unreadable", str(error))]
    facts.append(("SHA-256", hashlib.sha256(certificate).digest().hex(":").upper()))
    return "\n".join(f"  {name:10} {value}" for name, value in facts)


def _validity(certificate: x509.Certificate, now: datetime) -> str:
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    remark = " (expired)" if now > ends else " (not yet valid)" if now < begins else ""
    return f"{begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC{remark}"


def _names(certificate: x509.Certificate) -> Sequence[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    addresses = map(str, names.get_values_for_type(x509.IPAddress))
    return (*names.get_values_for_type(x509.DNSName), *addresses)
