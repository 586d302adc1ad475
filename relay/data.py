"""The end of DATA and what may stand before it (RFC 5321, 4.1.1.4 and 4.5.2).

Only CRLF.CRLF ends a message. Anything that another server might take for an end, a bare CR or LF, is refused with the
whole message: this is what keeps one message from becoming two further on ("SMTP smuggling").
"""

from typing import Final

from mail.errors import Refused

_END: Final = b"\r\n.\r\n"
# The line end that precedes the first line of a message, so that a dot there is like any other.
_BEFORE: Final = b"\r\n"


class DataReader:
    """Takes a message in whatever pieces it comes; keeps a bounded part of one that is too large.

    Args:
        limit: most octets of a message, dots of transparency not counted.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Transparency makes a message of the lines "." longest: four octets for three.
        self._room = limit * 4 // 3 + len(_BEFORE) + len(_END)
        self._raw = bytearray(_BEFORE)
        self._too_large = False

    def feed(self, piece: bytes) -> bytes | None:
        """Take the next piece; give what follows the end of the message, or None while the end is to come."""
        start = len(self._raw)
        self._raw += piece
        end = self._raw.find(_END, max(start - len(_END) + 1, 0))
        if end < 0:
            self._bound()
            return None
        rest = bytes(self._raw[end + len(_END) :])
        del self._raw[end + len(_BEFORE) :]
        return rest

    def message(self) -> bytes:
        """Give the message as the client meant it.

        Raises:
            Refused: 552 5.3.4, it is too large; 550 5.6.0, it has octets that a message may not have.
        """
        if not self._too_large:
            start = len(_BEFORE) + self._raw.startswith(b".", len(_BEFORE))
            message = bytes(memoryview(self._raw)[start:]).replace(b"\r\n.", b"\r\n")
            self._raw = bytearray()
            if len(message) <= self._limit:
                _check_octets(message)
                return message
        raise Refused(552, "5.3.4", f"Message too large; the limit is {self._limit} octets")

    def _bound(self) -> None:
        if len(self._raw) > self._room:
            self._too_large = True
            del self._raw[: -len(_END)]


def _check_octets(message: bytes) -> None:
    line_ends = message.count(b"\r\n")
    if message.count(b"\n") != line_ends:
        raise Refused(550, "5.6.0", "Message has a bare LF; lines end in CRLF")
    if message.count(b"\r") != line_ends:
        raise Refused(550, "5.6.0", "Message has a bare CR; lines end in CRLF")
    if b"\0" in message:
        raise Refused(550, "5.6.0", "Message has a NUL octet")
