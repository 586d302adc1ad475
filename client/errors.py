"""Everything that can go wrong, by whose turn it is to act; each class is one exit code."""

from collections.abc import Iterable
from typing import ClassVar

from client.replies import Reply

INTERRUPTED = 6


class ClientError(Exception):
    """A failure told in plain words, with the server's reply where there was one."""

    kind: ClassVar[str]
    exit_code: ClassVar[int]

    def __init__(self, message: str, reply: Reply | None = None) -> None:
        super().__init__(message)
        self.reply = reply

    @property
    def group(self) -> str:
        """What the errors of many messages are counted by."""
        return str(self.reply) if self.reply else str(self).partition("\n")[0]


class MessageRefusedError(ClientError):
    """The server took the connection but not the message, or not for every recipient."""

    kind = "refused"
    exit_code = 1


class UsageError(ClientError):
    """The command line, or a file it names, asks for something that cannot be done."""

    kind = "usage"
    exit_code = 2


class NoConnectionError(ClientError):
    """There is no working SMTP connection: refused, not found, lost, or too slow."""

    kind = "connection"
    exit_code = 3


class TlsError(ClientError):
    """There is no encryption, or the certificate is not trusted."""

    kind = "tls"
    exit_code = 4


class UntrustedError(TlsError):
    """The certificate did not pass; `code` and `reason` are OpenSSL's."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"the server's certificate is not trusted: {reason}")
        self.code = code
        self.reason = reason


class AuthError(ClientError):
    """The server does not accept the credentials."""

    kind = "auth"
    exit_code = 5


class InterruptError(ClientError):
    """The user stopped the run."""

    kind = "interrupted"
    exit_code = INTERRUPTED


# A cause that stops every message outweighs one that stops a few.
SEVERITY = (0, 1, 3, 5, 4, 2, INTERRUPTED)


def most_severe(exit_codes: Iterable[int]) -> int:
    """Return the exit code that a run of many messages ends with."""
    return max(exit_codes, key=SEVERITY.index, default=0)
