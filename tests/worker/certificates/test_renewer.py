"""The renewer with parts that do what real ones do seldom."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
from botocore.exceptions import ClientError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client import CollectorRegistry

from backing.certificates.bundle import IMPORTED, Bundle, Kept
from backing.certificates.ledger import Busy
from backing.certificates.material import Material
from backing.certificates.record import Record, decode
from backing.ids import now
from backing.metrics import CertificateMetrics
from backing.route53 import Zone as Route53Zone
from mail.errors import Unavailable
from tests.worker.certificates.zone import Zone
from worker.certificates.faults import Rejected
from worker.certificates.renewer import Means, Renewer
from worker.certificates.settings import dns_server
from worker.certificates.solvers import DnsSolver, Proof
from worker.certificates.standing import Outcome, Wish


class Ledger:
    """A lock that is not there when something is to be written down."""

    def __init__(self, *, lost: bool = False) -> None:
        self.lost = lost
        self.taken: Any = lambda: None

    async def look(self) -> str:
        return ""

    async def take(self) -> str:
        self.taken()
        return ""

    async def save(self, _: str) -> None:
        raise Busy("another run took it") if self.lost else Unavailable("table: away")

    release = save


class Books:
    """Keeps a certificate in memory."""

    kept: Bundle | None = None
    fault: Exception | None = None

    async def read(self) -> Kept | None:
        if self.fault:
            raise self.fault
        return Kept(self.kept) if self.kept else None

    async def write(self, bundle: Bundle) -> None:
        self.kept = bundle


class Page:
    """What everybody may know; perhaps nobody can write it down."""

    def __init__(self, text: str | None = None, *, away: bool = False) -> None:
        self.text = text
        self.away = away

    async def read(self) -> str | None:
        return self.text

    async def write(self, text: str) -> None:
        if self.away:
            raise Unavailable("table: away")
        self.text = text


class Server:
    """An ACME server that issues what it likes."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.ca = trustme.CA()

    async def window(self, _: Any) -> None:
        """It says nothing of when it wants to be asked again."""

    async def order(self, _: Any, request: bytes, *__: Any) -> bytes:
        wanted, now_ = x509.load_pem_x509_csr(request), now()
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives = x509.SubjectAlternativeName([x509.DNSName(name) for name in self.names])
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "test")])
        builder = x509.CertificateBuilder(
            issuer, x509.Name([]), wanted.public_key(), 5, now_ - timedelta(hours=1), now_ + timedelta(days=90)
        ).add_extension(alternatives, critical=True)
        return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def renewer(ledger: Ledger, books: Books, *names: str, page: Page | None = None) -> tuple[Renewer, list[float]]:
    server: Any = Server(*names)
    solver: Any = None
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    means = Means(books, ledger, page or Page(away=True), server, solver, CertificateMetrics(CollectorRegistry()))
    return Renewer(Wish(("a.example.com",), "https://acme.example/dir"), means, sleep), waited


def test_a_certificate_is_more_important_than_what_is_remembered() -> None:
    books = Books()
    subject, waited = renewer(Ledger(), books, "a.example.com")
    assert asyncio.run(subject.renew()) == Outcome("renewed", "renewed")
    assert (waited, books.kept is not None) == ([], True)


def test_who_has_lost_the_lock_stops() -> None:
    subject, _ = renewer(Ledger(lost=True), Books(), "a.example.com")
    assert asyncio.run(subject.renew()) == Outcome("busy", "another run took it")


def test_a_certificate_that_was_not_asked_for_is_not_put_in_its_place() -> None:
    books = Books()
    subject, waited = renewer(Ledger(), books, "b.example.com")
    words = "the ACME server issued a certificate that lacks names: a.example.com"
    assert asyncio.run(subject.renew()) == Outcome("failed", words)
    assert (waited, books.kept) == ([30, 60], None)


class Reached(Ledger):
    """A lock in a table that is there."""

    async def save(self, _: str) -> None:
        pass

    release = save


def test_where_the_certificate_cannot_be_seen_what_was_seen_before_is_told_with_the_fault() -> None:
    books, page = Books(), Page()
    subject, _ = renewer(Reached(), books, "a.example.com", page=page)
    assert asyncio.run(subject.renew()).result == "renewed"
    seen = decode(page.text or "")
    assert seen
    assert (seen.host, seen.names, seen.result, seen.failure) == ("a.example.com", ("a.example.com",), "renewed", None)
    books.fault = Unavailable("Secrets Manager: away")
    assert asyncio.run(subject.renew()) == Outcome("failed", "Secrets Manager: away")
    told = decode(page.text or "")
    assert told
    assert told == replace(seen, checked_at=told.checked_at, result="failed", failure="Secrets Manager: away")
    for text in (None, "no record"):
        page.text = text
        asyncio.run(subject.renew())
        told = decode(page.text or "")
        assert told
        failed = Record("a.example.com", result="failed", failure="Secrets Manager: away")
        assert told == replace(failed, checked_at=told.checked_at)


def test_what_another_run_has_done_meanwhile_is_seen() -> None:
    ledger, books = Ledger(), Books()
    subject, _ = renewer(ledger, books, "a.example.com")
    pair = trustme.CA().issue_cert("a.example.com")
    material = Material(pair.cert_chain_pems[0].bytes(), pair.private_key_pem.bytes())
    ledger.taken = lambda: setattr(books, "kept", Bundle(material, ("a.example.com",), IMPORTED))
    assert asyncio.run(subject.renew()) == Outcome("kept", "another run has renewed it")


def test_dns_servers_are_addresses() -> None:
    given = ("192.0.2.1", "192.0.2.1:5300", "2001:db8::1", "[2001:db8::1]:5300")
    found = [("192.0.2.1", 53), ("192.0.2.1", 5300), ("2001:db8::1", 53), ("2001:db8::1", 5300)]
    assert [dns_server(text) for text in given] == found
    for text in ("dns.example", "192.0.2.1:port", "", "[::1"):
        with pytest.raises(ValueError, match="is not an address"):
            dns_server(text)


class ForeignZone:
    """A zone that is not for these names; moto takes any."""

    async def change_resource_record_sets(self, **_: Any) -> None:
        raise ClientError(
            {"Error": {"Code": "InvalidChangeBatch", "Message": "not permitted in zone a.test."}}, "Change"
        )


def test_a_zone_that_is_not_for_a_name_is_said(zone: Zone) -> None:
    solver = DnsSolver(Route53Zone(ForeignZone(), "Z1"), (zone.server,), 5)
    with pytest.raises(Rejected, match=r"Route 53 zone Z1: not permitted in zone a.test."):
        asyncio.run(solver.publish([Proof("b.example.com", "token", "answer")]))


def test_without_dns_servers_of_its_own_it_asks_the_systems(tmp_path: Path) -> None:
    zone, proofs = Route53Zone(ForeignZone(), "Z1"), [Proof("b.example.com", "token", "answer")]
    system = tmp_path / "resolv.conf"
    with pytest.raises(Unavailable, match=rf"^DNS: .*{system}"):
        asyncio.run(DnsSolver(zone, (), 5, str(system)).publish(proofs))
    # An address to which no system sends anything: it says so at once.
    system.write_text("nameserver 255.255.255.255\n")
    with pytest.raises(Unavailable, match=r"^DNS _acme-challenge.b.example.com: NoNameservers$"):
        asyncio.run(DnsSolver(zone, (), 5, str(system)).publish(proofs))
