"""TLS between the transport and the protocol, in memory: octets in, octets out, no socket.

asyncio's own TLS transport keeps 256 KiB per session, and uvloop's 340 KiB after one large message; this keeps 40.
"""

import ssl
from typing import Final

_RECORD: Final = 16_384


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
        view = memoryview(data)
        # In small pieces, since OpenSSL keeps a buffer as large as the largest.
        for start in range(0, len(view), _RECORD):
            self._incoming.write(view[start : start + _RECORD])
            if self.established or self._shake_hands():
                self._read(plain)
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
        """Version and cipher of the session."""
        cipher = self._tls.cipher()
        return {"version": self._tls.version() or "", "cipher": cipher[0] if cipher else ""}

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
