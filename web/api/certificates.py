"""Certificates: what the secrets hold that relays serve from, for operators."""

from fastapi import FastAPI
from pydantic import Field

from backing.certificates.bundle import Bundle, decode
from backing.certificates.material import BadCertificate, BadKey, examine, read_leaf
from backing.certificates.secrets import Secret
from backing.ids import now
from mail.keys import Scope
from web.api.caller import Calling
from web.api.models import Given, Listed, Utc
from web.api.operations import Operation, Row, add
from web.house import House


class CertificateShown(Given):
    """A certificate, without its key."""

    secret: str = Field(description="Secrets Manager's name of it.")
    version: str | None = Field(description="Of the secret; null where nothing is in it yet.")
    names: list[str] = Field(description="Host names that it is for.")
    not_before: Utc | None
    not_after: Utc | None
    issuer: str | None
    source: str | None = Field(description="Directory of the ACME server that issued it, or `import`.")
    fault: str | None = Field(description="Why relays do not serve it; null where they do.")


class Certificates:
    """The certificates of the relay."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add this operation to the API."""
        row: Row = ("GET", "/certificates", Scope.CERTIFICATES_READ, self.listed, "Tell of certificates", 200, ())
        add(app, "certificates", (Operation.of(row),))

    async def listed(self, _caller: Calling) -> Listed[CertificateShown]:
        """The certificates that relays find in Secrets Manager; none where they serve from files."""
        return Listed[CertificateShown](items=[await _shown(each) for each in self._house.certificates], next=None)


async def _shown(secret: Secret) -> CertificateShown:
    version = await secret.version()
    if version is None:
        return _without(secret, None, "there is no such secret, or nothing in it yet")
    try:
        bundle = decode(version.text)
        leaf = read_leaf(bundle.material.chain)
    except BadCertificate as why:
        return _without(secret, version.id, str(why))
    return CertificateShown(
        secret=secret.id,
        version=version.id,
        names=sorted(leaf.names),
        not_before=leaf.begins_at,
        not_after=leaf.expires_at,
        issuer=leaf.issuer,
        source=bundle.source,
        fault=_fault(bundle),
    )


def _without(secret: Secret, version: str | None, fault: str) -> CertificateShown:
    return CertificateShown(
        secret=secret.id,
        version=version,
        names=[],
        not_before=None,
        not_after=None,
        issuer=None,
        source=None,
        fault=fault,
    )


def _fault(bundle: Bundle) -> str | None:
    """Why relays do not serve it, as they find themselves."""
    try:
        examine(bundle.material, now()).check_names(bundle.names)
    except (BadCertificate, BadKey) as why:
        return str(why)
    return None
