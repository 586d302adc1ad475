"""Certificates: what their renewers have left word of, for operators."""

from dataclasses import asdict

from fastapi import FastAPI
from pydantic import Field

from backing.certificates.record import Record, Result, decode
from backing.certificates.store import Texts
from backing.ids import now
from mail.keys import Scope
from web.api.caller import Calling
from web.api.models import Given, Listed, Utc
from web.api.operations import Operation, Row, add
from web.house import House


class CertificateShown(Given):
    """A certificate, as the last run that looked after it found it."""

    host: str = Field(description="The first of the names that it is wanted for, or the file of its record.")
    names: list[str] = Field(description="Host names that it has.")
    version: str | None = Field(description="Of the secret that it is kept in with its key; null in files.")
    not_before: Utc | None
    not_after: Utc | None
    issuer: str | None
    source: str | None = Field(
        description="Directory of the ACME server that issued it; `import` for one from elsewhere, `local` for the "
        "development CA's."
    )
    fault: str | None = Field(description="Why relays do not serve it; null where they do.")
    due_at: Utc | None = Field(description="When it is or was to be renewed.")
    due_because: str | None = Field(description="By its lifetime, by the ACME server's wish (ARI), or for want of one.")
    checked_at: Utc | None = Field(description="End of the last run; null before the first.")
    result: Result | None = Field(description="What came of that run.")
    failures: int = Field(description="Attempts that failed since the last good one.")
    failure: str | None = Field(description="What the last of them said.")


class Certificates:
    """The certificates of the relay."""

    def __init__(self, house: House) -> None:
        self._house = house

    def add_to(self, app: FastAPI) -> None:
        """Add this operation to the API."""
        row: Row = ("GET", "/certificates", Scope.CERTIFICATES_READ, self.listed, "Tell of certificates", 200, ())
        add(app, "certificates", (Operation.of(row),))

    async def listed(self, _caller: Calling) -> Listed[CertificateShown]:
        """The relays' certificates, as those say who look after them; no key is read for it."""
        told = [await _shown(host, record) for host, record in self._house.certificates.items()]
        return Listed[CertificateShown](items=told, next=None)


async def _shown(host: str, kept: Texts) -> CertificateShown:
    text = await kept.read()
    missing = Record(host, fault="nothing is known of it before the first run of the renewer")
    broken = Record(host, fault="its record cannot be read; the next run of the renewer writes it anew")
    record = missing if text is None else decode(text) or broken
    return CertificateShown.model_validate(asdict(record.at(now())))
