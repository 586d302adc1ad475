"""The SMTP connection of aiosmtplib, with every line told to a listener; secrets are masked."""

import asyncio
from collections.abc import Callable
from typing import Literal

import aiosmtplib
from aiosmtplib.typing import Default

from client.replies import printable

Say = Callable[[str], None]
MASK = "********"
_CHALLENGE = 334  # RFC 4954 section 4: the next line answers the challenge, so it is a secret


def masked(command: bytes, previous_code: int) -> str:
    """Return a command as it may be shown."""
    if previous_code == _CHALLENGE:
        return MASK
    words = command.split(b" ")
    if words[0].upper() == b"AUTH":
        words[2:] = [MASK.encode()] * len(words[2:])
    return b" ".join(words).decode("utf-8", "replace")


class Wire(aiosmtplib.SMTP):
    """An SMTP connection that tells its dialogue."""

    say: Say
    last_code = 0

    async def execute_command(
        self,
        *args: bytes,
        timeout: float | Literal[Default.token] | None = Default.token,  # noqa: ASYNC109 - as aiosmtplib has it
    ) -> aiosmtplib.SMTPResponse:
        """Send a command and tell it and its reply."""
        self.say(f"C: {masked(b' '.join(args), self.last_code)}")
        response = await super().execute_command(*args, timeout=timeout)
        self.last_code = response.code
        self.tell(response)
        return response

    def close(self) -> None:
        """Close now; asyncio's own TLS farewell waits for the peer's and may outlive the event loop."""
        transport = self.transport
        super().close()
        if isinstance(transport, asyncio.WriteTransport):
            transport.abort()

    def tell(self, response: aiosmtplib.SMTPResponse) -> None:
        """Tell a reply, line by line."""
        *lines, last = response.message.split("\n")
        for line in lines:
            self.say(f"S: {response.code}-{printable(line)}")
        self.say(f"S: {response.code} {printable(last)}")
