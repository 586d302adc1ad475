"""How the ACME server is shown that names are ours (TLS-018): by a TXT record, or by what any relay answers."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.resolver

from backing.cache import Cache
from backing.certificates.tokens import offer
from backing.route53 import WrongZone, Zone
from mail.errors import Unavailable
from worker.certificates.faults import Rejected
from worker.certificates.settings import Challenge, dns_server

_DNS_SECONDS: Final = 10.0
# More CNAMEs than anybody has one after another.
_MAX_LINKS: Final = 8


@dataclass(frozen=True, slots=True)
class Proof:
    """What shows that a name is ours.

    Attributes:
        name: the host name, without the `*.` of a wildcard.
        token: of the challenge.
        answer: what is to be seen.
    """

    name: str
    token: str
    answer: str


class Solver(Protocol):
    """Shows proofs for as long as the ACME server looks."""

    kind: Challenge

    async def publish(self, proofs: Sequence[Proof]) -> None:
        """Show proofs; returns when the server may look. Raises `Unavailable`, `Rejected`."""
        ...

    async def withdraw(self, proofs: Sequence[Proof]) -> None:
        """Show them no longer. Raises `Unavailable`."""
        ...


class DnsSolver:
    """DNS-01 (RFC 8555, 8.4): TXT records at `_acme-challenge.NAME`, or where a CNAME leads from there.

    Args:
        zone: where records are written.
        servers: DNS servers to follow CNAMEs with; none: the system's.
        seconds: longest wait for the records to be everywhere.
        system: the file that names the system's.
    """

    kind: Challenge = "dns-01"

    def __init__(self, zone: Zone, servers: Sequence[str], seconds: float, system: str = "/etc/resolv.conf") -> None:
        self._zone = zone
        self._servers = servers
        self._seconds = seconds
        self._system = system
        self._written: dict[str, list[str]] = {}

    async def publish(self, proofs: Sequence[Proof]) -> None:
        """Write all records at once; several proofs of a name, as of a wildcard with its domain, are one record."""
        texts: defaultdict[str, list[str]] = defaultdict(list)
        for proof in proofs:
            texts[await self._place(f"_acme-challenge.{proof.name}")].append(proof.answer)
        self._written = dict(texts)
        try:
            await self._zone.publish(texts, self._seconds)
        except WrongZone as fault:
            raise Rejected(str(fault)) from None

    async def withdraw(self, proofs: Sequence[Proof]) -> None:
        """Remove the records again."""
        del proofs
        texts, self._written = self._written, {}
        await self._zone.withdraw(texts)

    async def _place(self, name: str) -> str:
        """Follow CNAMEs by which a foreign zone lets us prove its names."""
        resolver = self._resolver()
        for _ in range(_MAX_LINKS):
            try:
                answer = await resolver.resolve(name, "CNAME", lifetime=_DNS_SECONDS, search=False)
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                return name
            except dns.exception.DNSException as fault:
                raise Unavailable(f"DNS {name}: {type(fault).__name__}") from fault
            name = answer[0].target.to_text(omit_final_dot=True).lower()
        raise Rejected(f"DNS {name}: more than {_MAX_LINKS} CNAMEs one after another")

    def _resolver(self) -> dns.asyncresolver.Resolver:
        try:
            resolver = dns.asyncresolver.Resolver(self._system, configure=not self._servers)
        except dns.exception.DNSException as fault:
            raise Unavailable(f"DNS: {fault}") from fault
        own = [dns.nameserver.Do53Nameserver(*dns_server(text)) for text in self._servers]
        resolver.nameservers = own or resolver.nameservers
        return resolver


class HttpSolver:
    """HTTP-01 (RFC 8555, 8.3): relays answer from the cache; the answers end by themselves."""

    kind: Challenge = "http-01"

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def publish(self, proofs: Sequence[Proof]) -> None:
        """Put the answers where every relay finds them."""
        answers: Mapping[str, str] = {proof.token: proof.answer for proof in proofs}
        for token, answer in answers.items():
            await offer(self._cache, token, answer)

    async def withdraw(self, proofs: Sequence[Proof]) -> None:
        """Leave them to their end; they are no secrets."""
