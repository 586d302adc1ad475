"""TLS between the transport and the protocol, in memory: octets in, octets out, no socket.

asyncio's own TLS transport keeps 256 KiB per session, and uvloop's 340 KiB after one large message; this keeps 40.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final

_RECORD: Final = 16_384
# OpenSSL keeps a buffer as large as the largest piece it was given, for as long as the session lasts.
_PIECE: Final = 4096
# Names in a certificate that stand for whoever shows it, as OpenSSL calls them.
_NAMES: Final = frozenset({"email", "DNS", "URI"})


class Tunnel:
    """The server's side of one TLS session.

    Args:
        context: certificate, versions and ciphers.
    """

    def __init__(self, context: ssl.SSLContext) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self.established = False
        self.closed = False

    def receive(self, data: bytes) -> bytes:
        """Take what came from the peer; give what it means, which may be nothing yet.

        Raises:
            ssl.SSLError: the peer does not speak TLS, or not one of ours; `outgoing` then tells it so.
        """
        plain: list[bytes] = []
        if len(data) <= _PIECE:
            self._take(data, plain)
            return plain[0] if len(plain) == 1 else b"".join(plain)
        view = memoryview(data)
        for start in range(0, len(view), _PIECE):
            self._take(view[start : start + _PIECE], plain)
        return b"".join(plain)

    def send(self, data: bytes) -> None:
        """Encrypt; `outgoing` gives the result."""
        self._tls.write(data)

    def close(self) -> None:
        """Say that nothing follows."""
        try:
            self._tls.unwrap()
        except ssl.SSLError:
            # Wants to read the peer's own farewell, which nobody waits for.
            return

    def outgoing(self) -> bytes:
        """Give what is to go to the peer now."""
        return self._outgoing.read() if self._outgoing.pending else b""

    @property
    def facts(self) -> dict[str, str]:
        """Version and cipher of the session, and the name that the client asked for."""
        cipher = self._tls.cipher()
        return {
            "version": self._tls.version() or "",
            "cipher": cipher[0] if cipher else "",
            "sni": getattr(self._tls, "sni", None) or "",
        }

    @property
    def certificate_names(self) -> tuple[str, ...]:
        """Names in the certificate that the client has shown and that was verified; none without one."""
        return names_of(self._tls.getpeercert() or {})

    def _take(self, piece: bytes | memoryview, plain: list[bytes]) -> None:
        self._incoming.write(piece)
        if self.established or self._shake_hands():
            self._read(plain)

    def _shake_hands(self) -> bool:
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        self.established = True
        return True

    def _read(self, plain: list[bytes]) -> None:
        while not self.closed:
            try:
                piece = self._tls.read(_RECORD)
            except ssl.SSLWantReadError:
                return
            except ssl.SSLZeroReturnError:
                piece = b""
            self.closed = not piece
            plain.append(piece)
            if not (self._incoming.pending or self._tls.pending()):
                # It would only say that it wants more, and an exception is dear.
                return


def names_of(certificate: Mapping[str, Any]) -> tuple[str, ...]:
    """Give the names of whoever a certificate is for: e-mail addresses, host names and URIs, else the common name."""
    names = [value for kind, value in certificate.get("subjectAltName", ()) if kind in _NAMES]
    if not names:
        parts = [part for parts in certificate.get("subject", ()) for part in parts]
        names = [value for kind, value in parts if kind == "commonName"]
    return tuple(names)
