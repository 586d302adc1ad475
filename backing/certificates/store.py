"""Where a certificate is kept: one small port, with Secrets Manager or files behind it (TLS-017)."""

from typing import TYPE_CHECKING, Final, Protocol

from backing.certificates.bundle import Bundle, Kept, decode, encode
from backing.certificates.material import BadCertificate, examine
from backing.certificates.secrets import Secret
from backing.ids import now
from backing.sqs import FAULTS
from mail.errors import Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client

_PREFIX: Final = "certificates"


class Texts(Protocol):
    """Keeps a text; both methods raise `Unavailable`."""

    async def read(self) -> str | None:
        """Give it, or None."""
        ...

    async def write(self, text: str) -> None:
        """Put another in its stead."""
        ...


class Store(Protocol):
    """Keeps a certificate with its key; both methods raise `Unavailable`."""

    async def read(self) -> Kept | None:
        """Give what is kept, or None."""
        ...

    async def write(self, bundle: Bundle) -> None:
        """Put another in its stead, both parts at once."""
        ...


class SecretStore:
    """A certificate in Secrets Manager."""

    def __init__(self, secret: Secret) -> None:
        self._secret = secret

    async def read(self) -> Kept | None:
        """Give what is kept, or None."""
        version = await self._secret.version()
        if version is None:
            return None
        try:
            return Kept(decode(version.text), version.id)
        except BadCertificate as fault:
            return Kept(str(fault), version.id)

    async def write(self, bundle: Bundle) -> None:
        """Make another the current version."""
        await self._secret.write(encode(bundle))


class Backup:
    """Copies of certificates in S3, one object each, for when a secret is lost (`s3:PutObject` on certificates/*).

    Args:
        client: the object store.
        bucket: versioned or not; encrypted with KMS by its own rule.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def keep(self, bundle: Bundle) -> str:
        """Store a copy; give its key.

        Raises:
            Unavailable: S3 did not take it.
        """
        certificate = examine(bundle.material, now())
        host = bundle.names[0].replace("*", "wildcard")
        key = f"{_PREFIX}/{host}/{certificate.begins_at:%Y%m%dT%H%M%SZ}-{certificate.leaf.serial_number:x}.json"
        try:
            await self._client.put_object(
                Bucket=self._bucket, Key=key, Body=encode(bundle).encode(), ContentType="application/json"
            )
        except FAULTS as fault:
            raise Unavailable(f"S3 PutObject {key}: {type(fault).__name__}: {fault}") from fault
        return key
