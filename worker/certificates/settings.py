"""What the renewer of certificates reads from its environment."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from backing.settings import CacheAddress, MetricsSettings, Texts

STAGING: Final = "https://acme-staging-v02.api.letsencrypt.org/directory"
PRODUCTION: Final = "https://acme-v02.api.letsencrypt.org/directory"
Challenge = Literal["dns-01", "http-01"]
KeyType = Literal["ecdsa", "rsa"]
_DNS_PORT: Final = 53
_MAX_NAMES: Final = 100
_MAX_NAME: Final = 253


def _host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    """Check names as a certificate has them: lower case, international ones as A-labels, wildcards at the left."""
    names = tuple(dict.fromkeys(name.lower().removesuffix(".") for name in names))
    for name in names:
        if not _is_host_name(name.removeprefix("*.")):
            raise ValueError(f"{name[:60]!r} is not a host name such as smtp.example.com or *.example.com")
    return names


def _is_host_name(name: str) -> bool:
    labels = name.split(".")
    return len(name) <= _MAX_NAME and len(labels) > 1 and all(map(_is_label, labels))


def _is_label(label: str) -> bool:
    letters = label.replace("-", "")
    return len(label) <= 63 and letters.isascii() and letters.isalnum() and label[0] != "-" != label[-1]  # noqa: PLR2004 - octets of a label, RFC 1035, 2.3.4


def dns_server(text: str) -> tuple[str, int]:
    """Read the address of a DNS server and its port: 192.0.2.1, 192.0.2.1:5300, 2001:db8::1, [2001:db8::1]:5300.

    Raises:
        ValueError: it is none.
    """
    bare = text.count(":") > 1 and not text.startswith("[")
    try:
        parts = urlsplit(f"//[{text}]" if bare else f"//{text}")
        return str(ip_address(parts.hostname or "")), parts.port or _DNS_PORT
    except ValueError:
        raise ValueError(f"{text[:60]!r} is not an address such as 192.0.2.1 or [2001:db8::1]:5300") from None


def _dns_servers(servers: tuple[str, ...]) -> tuple[str, ...]:
    for server in servers:
        dns_server(server)
    return servers


class CertificateSettings(CacheAddress, MetricsSettings):
    """What the renewer of one certificate is told; it needs no database."""

    certificate_names: Annotated[Texts, AfterValidator(_host_names)] = Field(
        min_length=1,
        max_length=_MAX_NAMES,
        description="Host names of the certificate, parted by commas; the first stands for all of them.",
    )
    certificate_secret: str = Field(
        default="", description="Secrets Manager id where the certificate is kept with its key (TLS-017)."
    )
    certificate_folder: str = Field(
        default="", description="Folder to keep certificate, key and account in, in the stead of secrets."
    )
    certificate_backup_bucket: str = Field(
        default="", description="S3 bucket that gets a copy of each certificate, under certificates/; empty: none."
    )
    certificate_key_type: KeyType = Field(
        default="ecdsa", description="Kind of key: ECDSA (P-256), or RSA (2048 bits) for clients that know no other."
    )
    acme_directory_url: str = Field(
        default=PRODUCTION,
        pattern=r"^https://|^http://(127\.0\.0\.1|localhost)[:/]",
        description="Directory of the ACME server (RFC 8555): Let's Encrypt's own, its staging one, or another.",
    )
    acme_email: str = Field(default="", description="Address that the ACME server may write to; empty: none.")
    acme_account_secret: str = Field(
        default="", description="Secrets Manager id where the ACME account is kept; needed with CERTIFICATE_SECRET."
    )
    acme_challenge: Challenge = Field(
        default="dns-01",
        description="How names are proved (TLS-018): dns-01 (Route 53, wildcards) or http-01 (relays).",
    )
    acme_seconds: float = Field(
        default=180.0, ge=5, le=1200, description="Longest wait for DNS, and then for the server's word on an order."
    )
    dns_zone_id: str = Field(
        default="", description="Id of the Route 53 zone that dns-01 writes to, directly or where a CNAME leads."
    )
    dns_servers: Annotated[Texts, AfterValidator(_dns_servers)] = Field(
        default=(),
        description="Addresses of DNS servers, address or address:port, to follow CNAMEs; empty: the system's.",
    )
    lock_table: str = Field(
        default="",
        description="DynamoDB table (key `id`, TTL attribute `expires`) that keeps two runs apart, remembers what went "
        "wrong and has what the API tells of the certificate; needed with CERTIFICATE_SECRET.",
    )
    renewal_wait_seconds: tuple[float, ...] = Field(
        default=(30, 60, 120, 300),
        description="Waits before further attempts of one run, as a JSON list (TLS-006).",
    )
    renewal_interval_seconds: float = Field(
        default=43_200.0, ge=60, description="Time between two scheduled runs: what is due before the next is done now."
    )
    metrics_emf: bool = Field(
        default=True, description="Whether metrics are written to standard output for CloudWatch (EMF)."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if complaints := list(self._complaints()):
            raise ValueError("\n".join(complaints))
        return self

    def _complaints(self) -> Iterator[str]:
        if bool(self.certificate_secret) == bool(self.certificate_folder):
            yield "CERTIFICATE_SECRET, CERTIFICATE_FOLDER: name one of both"
        if self.certificate_secret:
            for name in ("acme_account_secret", "lock_table"):
                if not getattr(self, name):
                    yield f"{name.upper()}: needed with CERTIFICATE_SECRET"
        yield from self._challenge_complaints()

    def _challenge_complaints(self) -> Iterator[str]:
        if self.acme_challenge == "dns-01":
            if not self.dns_zone_id:
                yield "DNS_ZONE_ID: needed for ACME_CHALLENGE=dns-01"
            return
        if not self.cache_url:
            yield "CACHE_URL: needed for ACME_CHALLENGE=http-01"
        if any(name.startswith("*.") for name in self.certificate_names):
            yield "ACME_CHALLENGE: http-01 proves no wildcard; use dns-01"
