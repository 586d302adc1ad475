"""An SMTP peer's replies, put together from what arrives, with limits for a peer that never ends (RFC 5321, 4.2)."""

import re
from collections import deque
from dataclasses import dataclass
from typing import Final

CLOSING: Final = 421

# RFC 5321, 4.5.3.1.5, allows 512 octets; some peers explain themselves at length.
MAX_LINE: Final = 4096
MAX_LINES: Final = 128

_LINE = re.compile(rb"(\d{3})(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")


class Broken(ConnectionError):  # noqa: N818 - a fact about a connection
    """The peer hung up, or what it says is not SMTP."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it came; the lines of its text are apart by line feeds."""

    code: int
    text: str

    @property
    def good(self) -> bool:
        """Whether the peer did what it was asked."""
        return 200 <= self.code < 300  # noqa: PLR2004 - RFC 5321, 4.2.1: 2yz, positive completion

    @property
    def refused(self) -> bool:
        """Whether the peer will not do it, now or ever."""
        return 400 <= self.code < 600  # noqa: PLR2004 - RFC 5321, 4.2.1: 4yz and 5yz

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code it begins with, or None."""
        match = _ENHANCED.match(self.text)
        return match.group(1) if match else None


class ReplyReader:
    """Puts replies together.

    Attributes:
        replies: those that are whole, in the order in which they came.
    """

    def __init__(self) -> None:
        self.replies: deque[Reply] = deque()
        self._rest = b""
        self._texts: list[bytes] = []

    @property
    def amid_reply(self) -> bool:
        """Whether part of a reply is there."""
        return bool(self._rest or self._texts)

    def feed(self, octets: bytes) -> None:
        """Take what arrived.

        Raises:
            Broken: it is not SMTP, or a reply is too long; replies before it are whole.
        """
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            self._take(line.removesuffix(b"\r"))
        if len(self._rest) > MAX_LINE:
            raise Broken(f"a line of its reply has more than {MAX_LINE} octets")

    def _take(self, line: bytes) -> None:
        if len(line) > MAX_LINE or len(self._texts) >= MAX_LINES:
            raise Broken(f"its reply has a line of more than {MAX_LINE} octets or more than {MAX_LINES} lines")
        match = _LINE.fullmatch(line)
        if match is None:
            raise Broken("its reply is not one of SMTP")
        self._texts.append(match[3] or b"")
        if match[2] != b"-":
            text = b"\n".join(self._texts).decode("utf-8", "replace")
            self._texts = []
            self.replies.append(Reply(int(match[1]), text))
