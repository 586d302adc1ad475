"""A development CA and the server certificate it signs. `python -m local.certificates FOLDER [--rsa] [NAME ...]`."""

import ipaddress
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

LIFETIME = timedelta(days=365)
# Clocks of containers and their hosts differ a little.
CLOCK_SKEW = timedelta(minutes=5)
NAMES = (
    x509.DNSName("localhost"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
)
FILES = ("ca.pem", "ca.key", "server.pem", "server.key")
RECORD = "server.json"


class UnusableCertificates(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """Files are there, but they are no working pair; a person decides what becomes of them."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate that signs others, and its key."""

    certificate: x509.Certificate
    key: Key


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _builder(common_name: str, key: Key, issuer: Authority | None, now: datetime) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    issuer_key = issuer.certificate.public_key() if issuer else key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer.certificate.subject if issuer else name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now - CLOCK_SKEW + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False)  # type: ignore[arg-type]
    )


def authority(key: Key, now: datetime) -> Authority:
    """Make a CA that signs server certificates only, and nothing below them."""
    builder = (
        _builder("smtp-proxy local development CA", key, None, now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Authority(builder.sign(key, hashes.SHA256()), key)


def server(issuer: Authority, key: Key, now: datetime, names: Sequence[str] = ()) -> x509.Certificate:
    """Make the certificate for this machine's own names, and for others."""
    own = [*NAMES, *(name for name in map(x509.DNSName, names) if name not in NAMES)]
    builder = (
        _builder("localhost", key, issuer, now)
        .add_extension(x509.SubjectAlternativeName(own), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return builder.sign(issuer.key, hashes.SHA256())


def elliptic() -> Key:
    """Make an ECDSA P-256 key: a handshake costs a fraction of RSA's."""
    return ec.generate_private_key(ec.SECP256R1())


def rsa_2048() -> Key:
    """Make an RSA 2048 key, for clients that know nothing else."""
    return rsa.generate_private_key(65537, 2048)


def write(folder: Path, new_key: Callable[[], Key], now: datetime, names: Sequence[str] = ()) -> None:
    """Write both certificates and both keys."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    ca = authority(new_key(), now)
    key = new_key()
    write_server(folder, ca, key, server(ca, key, now, names))


def write_server(folder: Path, ca: Authority, key: Key, certificate: x509.Certificate) -> None:
    """Write them; an authority that is there already is written as it was."""
    root = ca.certificate.public_bytes(serialization.Encoding.PEM)
    chain = certificate.public_bytes(serialization.Encoding.PEM)
    contents = (root, _pem(ca.key), chain + root, _pem(key))
    for name, content in zip(FILES, contents, strict=True):
        _replace(folder / name, content, 0o600 if name.endswith(".key") else 0o644)


def _pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _replace(file: Path, content: bytes, mode: int) -> None:
    unfinished = file.with_name(f".{file.name}")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as output:
        output.write(content)
        # The umask may have taken the read permission that everybody else is to have.
        os.fchmod(output.fileno(), mode)
    unfinished.replace(file)


def expiry(folder: Path) -> datetime:
    """Return when the first of the existing certificates ends.

    Raises:
        UnusableCertificates: they cannot be read, or do not belong together.
    """
    try:
        ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
        certificate = x509.load_pem_x509_certificates((folder / "server.pem").read_bytes())[0]
        key = serialization.load_pem_private_key((folder / "server.key").read_bytes(), None)
        certificate.verify_directly_issued_by(ca)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableCertificates(f"{folder}: {error}; remove its files to have new ones made") from None
    if certificate.public_key() != key.public_key():
        raise UnusableCertificates(f"{folder}: server.key does not fit server.pem; remove both to have new ones made")
    return min(ca.not_valid_after_utc, certificate.not_valid_after_utc)


def lacking(folder: Path, names: Sequence[str]) -> list[str]:
    """Give the names that the existing server certificate has not."""
    certificate = x509.load_pem_x509_certificates((folder / "server.pem").read_bytes())[0]
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [name for name in names if name not in alternatives.get_values_for_type(x509.DNSName)]


def rename(folder: Path, new_key: Callable[[], Key], now: datetime, names: Sequence[str]) -> None:
    """Have the existing authority, which may be trusted already, issue another server certificate.

    Raises:
        UnusableCertificates: the authority's key is gone.
    """
    ca = x509.load_pem_x509_certificate((folder / "ca.pem").read_bytes())
    try:
        signer = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    except (OSError, ValueError, TypeError) as error:
        raise UnusableCertificates(f"{folder}: {error}; remove its files to have new ones made") from None
    assert isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)  # noqa: S101 - we made it
    issuer, key = Authority(ca, signer), new_key()
    write_server(folder, issuer, key, server(issuer, key, now, names))


def ensure(folder: Path, new_key: Callable[[], Key], now: datetime, names: Sequence[str] = ()) -> str:
    """Make certificates if there are none, renew them if they have expired, else leave them alone; say which.

    A certificate that lacks a name is issued anew by the same authority.

    Raises:
        UnusableCertificates: something is there that is better not overwritten.
    """
    if not any((folder / name).exists() for name in FILES):
        write(folder, new_key, now, names)
        return f"made a development CA and a server certificate in {folder}"
    ends = expiry(folder)
    if ends > now and (missing := lacking(folder, names)):
        rename(folder, new_key, now, names)
        return f"made a server certificate for {', '.join(missing)} as well in {folder}; the authority is the same"
    if ends > now:
        return f"certificates in {folder} are kept; they end {ends:%Y-%m-%d}"
    write(folder, new_key, now, names)
    return f"certificates in {folder} had expired on {ends:%Y-%m-%d}; new ones were made: trust the new ca.pem"


def describe(folder: Path, now: datetime) -> None:
    """Leave word of the server certificate for the API, as a renewer does where there is one."""
    certificate = x509.load_pem_x509_certificates((folder / "server.pem").read_bytes())[0]
    alternatives = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    names = alternatives.get_values_for_type(x509.DNSName)
    told = {
        "host": names[0],
        "names": sorted(names),
        "not_before": certificate.not_valid_before_utc.isoformat(),
        "not_after": certificate.not_valid_after_utc.isoformat(),
        "issuer": certificate.issuer.rfc4514_string(),
        "source": "local",
        "due_at": certificate.not_valid_after_utc.isoformat(),
        "due_because": "the first start after its end makes a new one",
        "checked_at": now.isoformat(),
        "result": "kept",
    }
    _replace(folder / RECORD, json.dumps(told).encode(), 0o644)


def main(arguments: list[str]) -> int:
    """Do that for a folder."""
    try:
        folder, now = Path(arguments[0]), datetime.now(UTC)
        names = [word for word in arguments[1:] if word != "--rsa"]
        print(ensure(folder, rsa_2048 if "--rsa" in arguments else elliptic, now, names))
        describe(folder, now)
    except UnusableCertificates as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
