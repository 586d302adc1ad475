"""What handshakes are served with: versions and ciphers, a certificate for each name, and whose clients are trusted."""

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from types import MappingProxyType
from typing import Any, Final

from backing import ids
from backing.certificates.material import Certificate, Material, examine, load
from relay.settings import ClientCertificates

# Where the certificate for unknown names, and for clients that give none, is kept among the others.
FALLBACK: Final = ""
# For TLS 1.2; those of TLS 1.3 are all good. Level 2 keeps out keys below 112 bits of strength (RSA 2048) and SHA-1.
_CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20:@SECLEVEL=2"
_VERIFY: Final[Mapping[ClientCertificates, ssl.VerifyMode]] = MappingProxyType(
    {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
)


class BadAuthority(Exception):  # noqa: N818 - a fact about certificates
    """The certificates of the clients' authority cannot be used; says why."""


class ServerTLS(ssl.SSLObject):
    """The server's side of a TLS session, which remembers the name that the client asked for."""

    sni: str | None = None


@dataclass(frozen=True, slots=True)
class Clients:
    """Whose certificates clients may show, and where.

    Attributes:
        starttls: whether clients of the STARTTLS port are asked for one.
        implicit: whether clients of the port with implicit TLS are.
        authority: PEM; only what these certificates issued is trusted, the system's authorities are not.
    """

    starttls: ClientCertificates = "off"
    implicit: ClientCertificates = "off"
    authority: bytes = b""

    @property
    def modes(self) -> frozenset[ClientCertificates]:
        """The modes in use."""
        return frozenset((self.starttls, self.implicit))

    def mode(self, *, implicit_tls: bool) -> ClientCertificates:
        """The mode of a port."""
        return self.implicit if implicit_tls else self.starttls


@dataclass(frozen=True, slots=True)
class Served:
    """A certificate, and the context of each mode that serves it."""

    certificate: Certificate
    contexts: Mapping[ClientCertificates, ssl.SSLContext]


@dataclass(frozen=True, slots=True)
class Offer:
    """What became of a certificate that was taken.

    Attributes:
        changed: whether it is another than before.
        lost: names that were served before and now get the fallback.
    """

    certificate: Certificate
    changed: bool
    lost: frozenset[str] = frozenset()


class Certificates:
    """Gives each new session the context it is to be served with; sessions keep theirs, whatever is taken later.

    Safe to change from any thread while the event loop reads: whatever readers see is replaced whole.

    Args:
        fallback: what is served to clients that ask for no name, or for one that no certificate has.
        clients: whose certificates clients may show.
        bootstrap: whether the fallback is only for the time until the first certificate is issued.

    Raises:
        BadCertificate: see `examine`.
        BadKey: see `examine`.
        BadAuthority: the authority of the clients is needed and unusable.
    """

    def __init__(self, fallback: Material, clients: Clients | None = None, *, bootstrap: bool = False) -> None:
        self._changing = Lock()
        self._clients = clients or Clients()
        self._served: Mapping[str, Served] = {}
        self._by_name: Mapping[str, Served] = {}
        self.offer(FALLBACK, fallback)
        self._bootstrap = self._served[FALLBACK] if bootstrap else None

    def current(self, *, implicit_tls: bool = True) -> ssl.SSLContext:
        """The context for a session that begins now on this port; the client's wish for a name may change it."""
        return self._served[FALLBACK].contexts[self._clients.mode(implicit_tls=implicit_tls)]

    @property
    def expires_at(self) -> datetime:
        """When the first of the served certificates expires."""
        return min(served.certificate.expires_at for served in self._served.values())

    @property
    def names(self) -> frozenset[str]:
        """The names that are served with a certificate that has them."""
        return frozenset(self._by_name)

    @property
    def bootstrap(self) -> bool:
        """Whether unknown names are served with a certificate that no authority has issued."""
        return self._served[FALLBACK] is self._bootstrap

    @property
    def places(self) -> frozenset[str]:
        """The places that have a certificate."""
        return frozenset(self._served)

    def offer(self, place: str, material: Material, names: Iterable[str] = ()) -> Offer:
        """Take a certificate for new sessions, in the stead of the one that has this place.

        Args:
            place: the name of its source, of our choice; FALLBACK for the certificate that serves unknown names.
            material: the certificate.
            names: what it has to have in any case.

        Raises:
            BadCertificate: see `examine` and `check_names`; what was served is still.
            BadKey: see `examine`; what was served is still.
        """
        with self._changing:
            before = self._served.get(place)
            if before and before.certificate.material == material:
                return Offer(before.certificate, changed=False)
            certificate = examine(material, ids.now())
            certificate.check_names(names)
            had = self.names
            self._replace({**self._served, place: self._serve(certificate, self._clients)})
            return Offer(certificate, changed=True, lost=had - self.names)

    def withdraw(self, place: str) -> frozenset[str]:
        """Serve the certificate of a place no longer; give the names that get the fallback now."""
        with self._changing:
            names = self.names
            self._replace({other: served for other, served in self._served.items() if other != place})
            return names - self.names

    def trust(self, authority: bytes) -> bool:
        """Take the certificates of the authority that issues the clients' for new sessions; tell whether they changed.

        Raises:
            BadAuthority: there are none in it, or unusable ones; what was trusted still is.
        """
        if authority == self._clients.authority:
            return False
        with self._changing:
            clients = Clients(self._clients.starttls, self._clients.implicit, authority)
            served = {place: self._serve(old.certificate, clients) for place, old in self._served.items()}
            # A bootstrap certificate remains one.
            if self.bootstrap:
                self._bootstrap = served[FALLBACK]
            self._clients = clients
            self._replace(served)
        return True

    def _serve(self, certificate: Certificate, clients: Clients) -> Served:
        return Served(certificate, {mode: self._context(certificate, mode, clients) for mode in clients.modes})

    def _replace(self, served: Mapping[str, Served]) -> None:
        self._by_name = _table(served)
        self._served = served

    def _context(self, certificate: Certificate, mode: ClientCertificates, clients: Clients) -> ssl.SSLContext:
        context = _context()
        load(context, certificate.material)
        if mode != "off":
            _trust(context, clients.authority)
        context.verify_mode = _VERIFY[mode]

        def choose(tls: Any, name: str | None, _: ssl.SSLContext) -> None:
            """Serve the certificate that has the name (RFC 6066, 3); an unknown one gets the fallback, not an alert."""
            # It is a ServerTLS, since the context is ours.
            tls.sni = name
            if name and (served := self._find(name)):
                tls.context = served.contexts[mode]

        context.sni_callback = choose
        return context

    def _find(self, name: str) -> Served | None:
        name = name.lower().removesuffix(".")
        return self._by_name.get(name) or self._by_name.get("*." + name.partition(".")[2])


class _Context(ssl.SSLContext):
    """A context whose sessions are of our kind."""

    sslobject_class = ServerTLS


def _table(served: Mapping[str, Served]) -> Mapping[str, Served]:
    """Which certificate serves which name: of several, the one that lasts longest."""
    table: dict[str, Served] = {}
    for one in sorted(served.values(), key=lambda one: one.certificate.expires_at):
        table |= dict.fromkeys(one.certificate.names, one)
    return table


def _context() -> ssl.SSLContext:
    context = _Context(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    # A ticket is good only at the task that made it, and few mail clients resume.
    context.options |= ssl.OP_NO_TICKET
    context.num_tickets = 0
    return context


def _trust(context: ssl.SSLContext, authority: bytes) -> None:
    try:
        context.load_verify_locations(cadata=authority.decode("ascii"))
    except (ValueError, ssl.SSLError):
        raise BadAuthority("holds no PEM certificates") from None
    # Whoever is in the file is trusted, an intermediate authority without its root as well.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
