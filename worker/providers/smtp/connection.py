"""One SMTP connection to a provider: commands, their replies, and messages."""

import asyncio
import re
import ssl
from collections.abc import Callable, Mapping
from typing import Any, Final

from worker.providers.smtp.content import stuffed
from worker.providers.smtp.replies import Broken, Reply
from worker.providers.smtp.wire import Wire

# A larger message goes out as fast as the peer reads, so that one that breaks in the middle is known to have broken
# before the final dot, through TLS too, whose transport tells only what it has encrypted.
_PIECE: Final = 65_536
_FINAL_DOT: Final = b".\r\n"
_CHECK_SECONDS: Final = 3.0
_CONTROL = re.compile(rb"[\x00-\x1f\x7f]")


class Connection:
    """An SMTP connection.

    Attributes:
        extensions: what the peer offers, in lower case, with the parameters it gave.
        messages: how many it has carried.
        idle_since: event loop time at which it was last put back.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.extensions: Mapping[str, str] = {}
        self.messages = 0
        self.idle_since = 0.0

    @property
    def alive(self) -> bool:
        """Whether neither side has closed it, as far as we were told."""
        return self._wire.alive

    @property
    def certificate(self) -> bytes | None:
        """The peer's certificate in DER, or None without TLS."""
        return self._wire.certificate

    def told(self, name: str) -> Any:
        """What the transport tells of itself, by asyncio's names for it."""
        return self._wire.told(name)

    def offers(self, extension: str) -> bool:
        """Whether the peer announced an extension."""
        return extension in self.extensions

    @property
    def max_size(self) -> int | None:
        """The largest message the peer takes, or None for any (RFC 1870)."""
        return _number(self.extensions.get("size", ""))

    def limit(self, name: str) -> int | None:
        """A limit that the peer announced, RCPTMAX or MAILMAX (RFC 9422), or None."""
        limits = dict(word.upper().partition("=")[::2] for word in self.extensions.get("limits", "").split())
        return _number(limits.get(name, ""))

    def send(self, *commands: bytes) -> None:
        """Send commands in one piece; a reply to each of them will follow.

        Raises:
            Broken: the connection has ended.
            ValueError: a command has a control character, and would be more than one.
        """
        if any(map(_CONTROL.search, commands)):
            raise ValueError("a command has a control character")
        self._wire.write(b"\r\n".join(commands) + b"\r\n", len(commands))

    async def reply(self) -> Reply:
        """Wait for the next reply."""
        return await self._wire.reply()

    async def command(self, command: bytes) -> Reply:
        """Send a command and wait for its reply."""
        self.send(command)
        return await self._wire.reply()

    async def transfer(self, body: bytes, sent: Callable[[], None]) -> Reply:
        """Send a message after 354, dot-stuffed and otherwise as it is; calls `sent` when the final dot is out.

        A peer that refuses before the message has ended may have stopped to take the rest for one; it gets no more.

        Raises:
            Broken: the connection ended, or the peer takes a message that has not ended.
        """
        wire, text = self._wire, stuffed(body)
        if len(text) > _PIECE:
            octets = memoryview(text)
            for start in range(0, len(text), _PIECE):
                wire.write(octets[start : start + _PIECE], int(start == 0))
                await wire.drained()
                if wire.answered:
                    return await self._early()
            wire.write(_FINAL_DOT, 0)
        else:
            wire.write(text + _FINAL_DOT, 1)
        if not wire.all_out:
            await wire.drained()
            if not wire.all_out:
                return await self._early()
        sent()
        # The attempt's deadline ends the wait; RFC 5321, 4.5.3.2.6, gives the peer ten minutes, longer than any lease.
        return await wire.reply(patient=True)

    async def send_nothing(self) -> None:
        """End an unwanted 354 with a final dot alone, and expect a refusal (RFC 2920, section 3.1)."""
        self._wire.write(_FINAL_DOT, 1)
        await self._wire.reply()

    async def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Go on with TLS after the reply to STARTTLS; what the peer offered before counts no more.

        Raises:
            OSError: the peer said more before TLS, or the handshake failed.
        """
        await self._wire.start_tls(context, host)
        self.extensions = {}

    async def check(self) -> bool:
        """Whether the peer still answers."""
        try:
            async with asyncio.timeout(_CHECK_SECONDS):
                return (await self.command(b"NOOP")).good
        except OSError:
            return False

    def close(self) -> None:
        """Say QUIT and hang up without waiting for the answer."""
        if self.alive:
            self.send(b"QUIT")
        self._wire.close()

    def abort(self) -> None:
        """Hang up."""
        self._wire.abort()

    async def _early(self) -> Reply:
        reply = await self._wire.reply()
        self.abort()
        if not reply.refused:
            raise Broken(f"it said {reply.code} {reply.text} before the message had ended")
        return reply


def _number(text: str) -> int | None:
    """A number above 0; peers say 0 for none."""
    return int(text) or None if text.isascii() and text.isdecimal() and len(text) < 20 else None  # noqa: PLR2004
