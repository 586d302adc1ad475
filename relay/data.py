"""The octets of a message as they come in: the end of DATA, and the line ends (RFC 5321, 4.1.1.4, 4.5.2 and 2.3.8).

Only CRLF.CRLF ends a message. Anything that another server might take for an end, a bare CR or LF, is refused with the
whole message, or repaired before anybody else sees it: this is what keeps one message from becoming two further on
("SMTP smuggling").
"""

from typing import Final, Protocol

from typing_extensions import override

from mail.errors import Reply

_END: Final = b"\r\n.\r\n"
# The line end that precedes the first line of a message, so that a dot there is like any other.
_BEFORE: Final = b"\r\n"

BARE_LF: Final = Reply(550, "5.6.0", "Message has a bare LF; lines end in CRLF")
BARE_CR: Final = Reply(550, "5.6.0", "Message has a bare CR; lines end in CRLF")
NUL: Final = Reply(550, "5.6.0", "Message has a NUL octet")
_FAULTS: Final = (BARE_LF, BARE_CR, NUL)


class DataReader:
    """Takes what follows DATA in whatever pieces it comes, and gives the message without the dots of transparency.

    Attributes:
        rest: what follows the end of the message, or None while the end is to come.
    """

    __slots__ = ("_held", "_skip", "rest")

    def __init__(self) -> None:
        # What may be the start of the end, or of a stuffed line: four octets at most.
        self._held = _BEFORE
        self._skip = len(_BEFORE)
        self.rest: bytes | None = None

    def feed(self, piece: bytes) -> bytes:
        """Take the next piece of the stream; give the next piece of the message."""
        data = self._held + piece
        end = data.find(_END)
        if end < 0:
            end = len(data) - _unsure(data)
            self._held = data[end:]
        else:
            self.rest = data[end + len(_END) :]
            end += len(_BEFORE)
        message = data[:end].replace(b"\r\n.", b"\r\n")
        if self._skip and message:
            message = message[self._skip :]
            self._skip = 0
        return message


def _unsure(data: bytes) -> int:
    """How many octets at the end of `data` may be the start of the end."""
    for length in range(len(_END) - 1, 0, -1):
        if data.endswith(_END[:length]):
            return length
    return 0


class LineEnds(Protocol):
    """What is done about line ends that are none, and about NUL.

    Attributes:
        fault: why the message is refused, or None as long as it is not.
    """

    fault: Reply | None

    def take(self, piece: bytes) -> bytes:
        """Take the next piece of a message; give what of it is good to keep."""

    def end(self) -> bytes:
        """Take the end of the message; give what is left to keep."""


class Strict(LineEnds):
    """Refuses what has a bare LF, a bare CR or a NUL anywhere; which of them is told does not depend on the pieces."""

    def __init__(self) -> None:
        self._after_cr = False
        self.fault: Reply | None = None

    @override
    def take(self, piece: bytes) -> bytes:
        if self._after_cr:
            piece = b"\r" + piece
        # Whether this CR is bare is for the next octet to say.
        self._after_cr = piece.endswith(b"\r")
        if self._after_cr:
            piece = piece[:-1]
        line_ends = piece.count(b"\r\n")
        if piece.count(b"\n") != line_ends:
            self._note(BARE_LF)
        if piece.count(b"\r") != line_ends:
            self._note(BARE_CR)
        if b"\0" in piece:
            self._note(NUL)
        return piece

    @override
    def end(self) -> bytes:
        if self._after_cr:
            self._note(BARE_CR)
        return b""

    def _note(self, fault: Reply) -> None:
        if self.fault is None or _FAULTS.index(fault) < _FAULTS.index(self.fault):
            self.fault = fault


class Repaired(LineEnds):
    """Makes every bare CR and every bare LF a CRLF and drops NUL.

    Transparency is over by then: what a bare LF made of a line is not unstuffed, and a line of one dot stays one.
    """

    def __init__(self) -> None:
        self._after_cr = False
        self.fault: Reply | None = None

    @override
    def take(self, piece: bytes) -> bytes:
        piece = piece.replace(b"\0", b"")
        if self._after_cr:
            piece = b"\r" + piece
        self._after_cr = piece.endswith(b"\r")
        if self._after_cr:
            piece = piece[:-1]
        line_ends = piece.count(b"\r\n")
        if piece.count(b"\n") == line_ends == piece.count(b"\r"):
            return piece
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")

    @override
    def end(self) -> bytes:
        return b"\r\n" if self._after_cr else b""
