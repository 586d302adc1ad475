"""An SMTP server that keeps mail byte for byte, and misbehaves when asked to. `python -m local.sink FOLDER PORT`.

The local part of a recipient says how; `+anything` behind it makes it unique:

    tempfail-N@  451 to the first N RCPT of that address      slow-N@  N seconds before the reply to the final dot
    reject@      550 5.1.1 to RCPT                            drop@    keeps the mail, closes without that reply
"""

import asyncio
import logging
import re
import signal
import sys
from collections import Counter, defaultdict
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aiosmtpd.smtp import SMTP

from local import mailbox
from local.mailbox import Envelope
from local.ports import LOOPBACK

MAX_MESSAGE_BYTES = 52_428_800
MAX_COMMAND_BYTES = 8192
END_OF_DATA = b"\r\n.\r\n"
PATH = re.compile(r"\s*<(?P<address>[^<>]*|\"(?:[^\"\\]|\\.)*\"@[^<>]*)>(?P<parameters>(?: +\S+)*)\s*")
WISH = re.compile(
    r"(?P<wish>reject|drop|tempfail-(?P<times>\d+)|slow-(?P<seconds>\d+(?:\.\d+)?))(?:\+[^@]*)?@", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a recipient wants us to behave."""

    kind: Literal["reject", "drop", "tempfail", "slow"]
    amount: float = 0


def wish(address: str) -> Wish | None:
    """Read the wish out of a recipient's local part."""
    if not (match := WISH.match(address)):
        return None
    if match["times"]:
        return Wish("tempfail", int(match["times"]))
    if match["seconds"]:
        return Wish("slow", float(match["seconds"]))
    return Wish("drop" if match["wish"].lower() == "drop" else "reject")


def unstuffed(raw: bytes) -> bytes:
    """Take away the dots that the client put before dots (RFC 5321 4.5.2)."""
    return (b"\r\n" + raw).replace(b"\r\n.", b"\r\n")[2:]


# No slots: aiosmtpd looks at every attribute, and Python 3.11.2's slotted dataclasses have one that raises.
@dataclass
class Sink:
    """What all sessions share."""

    folder: Path
    refused: Counter[str] = field(default_factory=Counter)

    def answer(self, address: str) -> str:
        """Reply to a recipient."""
        wanted = wish(address)
        if wanted and wanted.kind == "reject":
            return "550 5.1.1 No such user here"
        if wanted and wanted.kind == "tempfail" and self.refused[address] < wanted.amount:
            self.refused[address] += 1
            return f"451 4.3.0 Try again ({self.refused[address]} of {wanted.amount:g})"
        return "250 2.1.5 OK"

    async def handle_exception(self, error: Exception) -> str:
        """Hide the fault from the client; the log has it."""
        logging.getLogger("local.sink").error("a session failed", exc_info=error)
        return "451 4.3.0 Local error"


class Session(SMTP):
    """aiosmtpd with its own MAIL, RCPT and DATA: any address, any parameter, any byte, lines of any length."""

    line_length_limit = 65_536
    command_size_limit = MAX_COMMAND_BYTES

    def __init__(self, sink: Sink) -> None:
        super().__init__(
            sink,
            data_size_limit=MAX_MESSAGE_BYTES,
            enable_SMTPUTF8=True,
            hostname="sink.localhost",
            ident="local sink",
            loop=asyncio.get_running_loop(),
        )
        self.sink = sink
        # The class's own is shared by all sessions, and cleared by each new one.
        self.command_size_limits = defaultdict(lambda: MAX_COMMAND_BYTES)

    async def smtp_MAIL(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd calls it by this name
        """Take any reverse path, the null one included."""
        if await self.check_helo_needed() or self.envelope is None:
            return
        if self.envelope.mail_from is not None:
            await self.push("503 5.5.1 Nested MAIL command")
        elif not (path := _path("FROM:", arg)):
            await self.push("501 5.5.4 Syntax: MAIL FROM:<address>")
        elif _declared_size(path["parameters"]) > MAX_MESSAGE_BYTES:
            await self.push("552 5.3.4 Message too big")
        else:
            self.envelope.mail_from = path["address"]
            self.envelope.mail_options = path["parameters"].split()
            await self.push("250 2.1.0 OK")

    async def smtp_RCPT(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd calls it by this name
        """Take any recipient, unless it wishes to be refused."""
        if await self.check_helo_needed() or self.envelope is None:
            return
        if self.envelope.mail_from is None:
            await self.push("503 5.5.1 MAIL first")
        elif not (path := _path("TO:", arg)) or not path["address"]:
            await self.push("501 5.5.4 Syntax: RCPT TO:<address>")
        else:
            answer = self.sink.answer(path["address"])
            if answer.startswith("250"):
                self.envelope.rcpt_tos.append(path["address"])
                self.envelope.rcpt_options.append(path["parameters"].strip())
            await self.push(answer)

    async def smtp_DATA(self, arg: str | None) -> None:  # noqa: N802 - aiosmtpd calls it by this name
        """Take the message and keep it; reply when it is on the disk."""
        if await self.check_helo_needed() or self.envelope is None:
            return
        if not self.envelope.rcpt_tos or arg:
            await self.push("501 5.5.4 Syntax: DATA" if arg else "503 5.5.1 RCPT first")
            return
        await self.push("354 End data with <CR><LF>.<CR><LF>")
        raw = await self._read_message()
        envelope, wishes = self.envelope, [w for w in map(wish, self.envelope.rcpt_tos) if w]
        self.envelope = self._create_envelope()
        if len(raw) > MAX_MESSAGE_BYTES:
            await self.push("552 5.3.4 Message too big")
            return
        kept = Envelope.now(
            envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.mail_options, envelope.rcpt_options
        )
        name = await asyncio.to_thread(mailbox.deliver, self.sink.folder, unstuffed(raw), kept)
        await self._reply(name, wishes)

    async def _reply(self, name: str, wishes: list[Wish]) -> None:
        await asyncio.sleep(max((w.amount for w in wishes if w.kind == "slow"), default=0))
        if self.transport and any(w.kind == "drop" for w in wishes):
            self.transport.close()
        else:
            await self.push(f"250 2.0.0 Kept as {name}")

    async def _read_message(self) -> bytes:
        """Read up to the lone dot; what follows it stays in the stream. Beyond the limit only the end is kept."""
        # The dot of an empty message follows the line end of the DATA command itself.
        received = bytearray(b"\r\n")
        while (end := received.find(END_OF_DATA)) < 0:
            chunk = await self._reader.read(1 << 20)
            if not chunk:
                raise ConnectionResetError
            self._reset_timeout()
            received += chunk
            if len(received) > 2 * MAX_MESSAGE_BYTES:
                del received[2 : len(received) - MAX_MESSAGE_BYTES - len(END_OF_DATA)]
        rest = bytes(received[end + len(END_OF_DATA) :])
        if rest:
            # Nothing is awaited since the read that emptied the stream's buffer, so this puts it back in order.
            self._reader.feed_data(rest)
        return bytes(received[2 : end + 2])


def _path(keyword: str, arg: str | None) -> re.Match[str] | None:
    if arg is None or arg[: len(keyword)].upper() != keyword:
        return None
    return PATH.fullmatch(arg[len(keyword) :])


def _declared_size(parameters: str) -> int:
    match = re.search(r"\bSIZE=(\d{1,12})\b", parameters, re.IGNORECASE)
    return int(match[1]) if match else 0


async def serve(folder: Path, port: int) -> None:
    """Serve until SIGTERM."""
    mailbox.create(folder)
    loop, stopped = asyncio.get_running_loop(), asyncio.Event()
    sink = Sink(folder)
    server = await loop.create_server(lambda: Session(sink), LOOPBACK, port)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    print(f"keeping mail in {folder}, listening on {LOOPBACK}:{port}", flush=True)
    await stopped.wait()
    server.close()


if __name__ == "__main__":
    # aiosmtpd logs every command at INFO and every line of mail at DEBUG.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with suppress(KeyboardInterrupt):
        asyncio.run(serve(Path(sys.argv[1]), int(sys.argv[2])))
