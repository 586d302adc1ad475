"""What a connection has read and not yet used, and what it has to say: lines in, lines out."""

import asyncio
from typing import TYPE_CHECKING, Final

from aiosmtpd.smtp import SMTP

from relay.wire.outbox import Outbox

if TYPE_CHECKING:
    from collections.abc import Callable

# RFC 4954, 4: "the maximum length of ... AUTH command lines and responses is 12288 octets"; no other line is as long.
MAX_LINE: Final = 12_288


class LineTooLong(Exception):  # noqa: N818 - a fact about a line
    """A line was longer than any may be; it has been skipped to its end."""


class Lines(SMTP):
    """The two buffers of a connection.

    Takes the place of aiosmtpd's stream reader and writer, which keep a message without line ends for ever and write
    each reply by itself.

    Args:
        outbox: when what is to be said is said.
    """

    transport: asyncio.Transport

    def __init__(self, outbox: Outbox) -> None:
        # Not SMTP's own: it looks itself up for 0.26 ms a connection, for hooks and a reader that are not used here.
        self._outbox = outbox
        # What has come, and how much of it is used; what is used up is dropped, so that an empty input is all used. To
        # cut lines off instead would copy all that follow each time.
        self._input = b""
        self._at = 0
        self._output: list[bytes] = []
        # What octets go through on their way out.
        self._outlet: Callable[[bytes], bytes] | None = None
        self._overlong = False

    def tell(self, line: bytes) -> None:
        """Send a line, or several, with the next flush; the CRLF of the last one is added.

        Whoever reads commands flushes before it has obeyed very many of them.
        """
        self._output.append(line)

    def flush_soon(self) -> None:
        """Flush when all sessions have obeyed what has come by now."""
        if self._output:
            self._outbox.add(self)

    def flush(self) -> None:
        """Hand all lines to the transport at once (RFC 2920, section 3.2)."""
        if self._output and not self.transport.is_closing():
            self._output.append(b"")
            data = b"\r\n".join(self._output)
            self._output.clear()
            self.transport.write(data if self._outlet is None else self._outlet(data))

    def take_line(self) -> bytes | None:
        """Give the next line without its CRLF, or None as long as it has not come to its end.

        Raises:
            LineTooLong: it was; the input stands behind it.
        """
        start, end = self._at, self._input.find(b"\r\n", self._at)
        if end < 0:
            self._input, self._at = self._input[start:], 0
            if len(self._input) > MAX_LINE:
                self._overlong = True
                # The last octet may be the CR of the line's end.
                self._input = self._input[-1:]
            return None
        line = self._input[start:end]
        if end + 2 == len(self._input):
            self._input, self._at = b"", 0
        else:
            self._at = end + 2
        if self._overlong or end - start > MAX_LINE:
            self._overlong = False
            raise LineTooLong
        return line

    def take_input(self, most: int | None = None) -> bytes:
        """Give what has come, line by line or not.

        Args:
            most: how many octets it may be; by default as many as there are.
        """
        start, whole = self._at, self._input
        if most is None or start + most >= len(whole):
            self._input, self._at = b"", 0
            return whole[start:]
        self._at = start + most
        return whole[start : self._at]

    def put(self, data: bytes) -> None:
        """Take in what has come."""
        self._input, self._at = self._input[self._at :] + data, 0

    def unread(self, rest: bytes) -> None:
        """Put back what was read too much."""
        self._input, self._at = rest + self._input[self._at :], 0

    @property
    def unread_input(self) -> bool:
        """Whether something of the peer waits to be read."""
        return bool(self._input)
