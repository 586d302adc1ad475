"""A certificate with its key, as values from wherever they come, and whether the pair is fit to be served."""

import os
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID

_SERVER_USES: Final = {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
# What a certificate makes of who reads it whose parts are not what they should be.
_UNREADABLE: Final = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension)


class BadCertificate(Exception):  # noqa: N818 - a fact about a certificate
    """The certificate, its chain or its dates are not fit to be served; says why."""


class BadKey(Exception):  # noqa: N818 - a fact about a key
    """The key is none, or not that of the certificate; says why."""


@dataclass(frozen=True, slots=True)
class Material:
    """What a certificate is served from.

    Attributes:
        chain: PEM, the server's certificate first, then each one's issuer.
        key: PEM, its private key, not encrypted.
    """

    chain: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate that is fit to be served.

    Attributes:
        names: DNS names, in lower case, wildcards as they stand.
        begins_at: start of its validity.
        expires_at: end of its validity.
        leaf: the server's own certificate.
    """

    material: Material
    names: frozenset[str]
    begins_at: datetime
    expires_at: datetime
    leaf: x509.Certificate

    def check_names(self, wanted: Iterable[str]) -> None:
        """Check that the certificate has all names that it is to be served for, as they stand.

        Raises:
            BadCertificate: naming those that it lacks.
        """
        if missing := set(wanted) - self.names:
            raise BadCertificate(f"lacks names: {', '.join(sorted(missing))}")


@dataclass(frozen=True, slots=True)
class Leaf:
    """What a server's certificate says, fit to be served or not."""

    names: frozenset[str]
    begins_at: datetime
    expires_at: datetime
    issuer: str


def read_leaf(chain: bytes) -> Leaf:
    """Read what the first certificate of a chain says.

    Raises:
        BadCertificate: it is none.
    """
    try:
        leaf = x509.load_pem_x509_certificates(chain)[0]
        return Leaf(_names(leaf), leaf.not_valid_before_utc, leaf.not_valid_after_utc, leaf.issuer.rfc4514_string())
    except _UNREADABLE:
        raise BadCertificate("is not a PEM certificate") from None


def examine(material: Material, now: datetime) -> Certificate:
    """Read a certificate with its chain and key, and check all that can be checked without a client.

    Raises:
        BadCertificate: it is no certificate, out of date, not for servers, or its chain is out of order.
        BadKey: the key cannot be read or belongs to another certificate.
    """
    try:
        chain = x509.load_pem_x509_certificates(material.chain)
    except ValueError:
        raise BadCertificate("is not a PEM certificate") from None
    leaf = chain[0]
    try:
        if why := date_fault(leaf.not_valid_before_utc, leaf.not_valid_after_utc, now):
            raise BadCertificate(why)
        _check_use(leaf)
        _check_order(chain)
        _check_key(leaf, material.key)
        return Certificate(material, _names(leaf), leaf.not_valid_before_utc, leaf.not_valid_after_utc, leaf)
    except _UNREADABLE:
        raise BadCertificate("has parts that cannot be read") from None


def load(context: ssl.SSLContext, material: Material) -> None:
    """Give a context its certificate. OpenSSL's function for it reads files; this one is never on a disk.

    Raises:
        BadCertificate: OpenSSL takes it for none.
    """
    file = os.memfd_create("certificate")
    try:
        with os.fdopen(file, "wb", closefd=False) as stream:
            stream.writelines((material.chain, b"\n", material.key))
        # The empty password keeps OpenSSL from asking for one on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{file}", password="")
    except ssl.SSLError as error:
        raise BadCertificate(f"cannot be served: {reason(error)}") from None
    finally:
        os.close(file)


def date_fault(begins_at: datetime, expires_at: datetime, now: datetime) -> str | None:
    """Say what is wrong with the dates of a certificate, if anything."""
    if expires_at <= now:
        return f"expired on {_day(expires_at)}"
    return f"is not valid before {_day(begins_at)}" if begins_at > now else None


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="minutes")


def _check_use(leaf: x509.Certificate) -> None:
    try:
        uses = set(leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return
    if not uses & _SERVER_USES:
        raise BadCertificate("is not for servers: its extended key usage lacks serverAuth")


def _check_order(chain: Sequence[x509.Certificate]) -> None:
    """Check that each certificate is followed by its issuer: clients need not sort them (RFC 5246, 7.4.2)."""
    for number, (subject, issuer) in enumerate(pairwise(chain), start=1):
        try:
            subject.verify_directly_issued_by(issuer)
        except (ValueError, TypeError, InvalidSignature):
            raise BadCertificate(f"has its chain out of order: {number + 1} is not the issuer of {number}") from None


def _check_key(leaf: x509.Certificate, key: bytes) -> None:
    try:
        private = serialization.load_pem_private_key(key, None)
    except (ValueError, TypeError) as error:
        # TypeError: it is encrypted, and nobody is there to give the password.
        why = "it is encrypted" if isinstance(error, TypeError) else "it is not a PEM private key"
        raise BadKey(f"holds no usable key for the certificate: {why}") from None
    if _octets(private.public_key()) != _octets(leaf.public_key()):
        raise BadKey("is not the key of the certificate")


def _octets(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def _names(leaf: x509.Certificate) -> frozenset[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(name.lower() for name in names.get_values_for_type(x509.DNSName))


def reason(error: ssl.SSLError) -> str:
    """Words of OpenSSL for what it does not like."""
    return (error.reason or "unknown").replace("_", " ").lower()
