"""An SMTP server that does what a script says, and remembers what it was told."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

DROP = "drop"  # hang up instead of answering
HANG = "hang"  # never answer

EXTENSIONS = ("PIPELINING", "SIZE 1000000", "8BITMIME", "SMTPUTF8", "DSN")


@dataclass
class Peer:
    """Answers by verb; `RCPT <address>` and `.` (the final dot) have keys of their own.

    A reply may be a list, one for each time; its last one repeats. `body` is what happens inside of a message: DROP, or
    a reply that comes early.

    Attributes:
        delay: seconds before each reply.
        gathered: whether replies wait for the one to DATA, so that only a client that pipelines gets any.
        bytewise: whether each octet of a reply goes out for itself.
    """

    script: Mapping[str, Any] = field(default_factory=dict)
    extensions: tuple[str, ...] = EXTENSIONS
    context: ssl.SSLContext | None = None
    implicit: bool = False
    delay: float = 0.0
    gathered: bool = False
    bytewise: bool = False
    port: int = 0
    sessions: int = 0
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    _times: dict[str, int] = field(default_factory=dict)
    _held: bytes = b""

    @property
    def config(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self.port, "tls": "none", "timeout": 5.0}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Peer"]:
        tls = self.context if self.implicit else None
        server = await asyncio.start_server(self._meet, "127.0.0.1", self.port, ssl=tls, limit=2**26)
        self.port = server.sockets[0].getsockname()[1]
        self._over = asyncio.Event()
        try:
            yield self
        finally:
            self._over.set()
            server.close()
            await server.wait_closed()
            if self._talks:
                await asyncio.wait(self._talks)

    def __post_init__(self) -> None:
        self._talks: set[asyncio.Task[None]] = set()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.sessions += 1
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, _Dropped, ssl.SSLError):
                await self._talk(reader, writer)
        finally:
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._reply(writer, "banner", "220 peer ready")
        taken = 0
        while line := await self._unless_over(reader.readline()):
            words = line.decode("utf-8", "replace").rstrip("\r\n")
            self.commands.append(words)
            verb = words.split(" ")[0].upper()
            if verb == "EHLO":
                lines = ["peer", *self.extensions]
                text = "\r\n".join([*(f"250-{each}" for each in lines[:-1]), f"250 {lines[-1]}"])
                await self._reply(writer, "EHLO", text)
            elif verb == "STARTTLS":
                await self._reply(writer, "STARTTLS", "220 go on")
                await writer.start_tls(self.context)  # type: ignore[arg-type]
            elif verb == "RCPT":
                address = words.partition("<")[2].partition(">")[0]
                step = f"RCPT {address}" if f"RCPT {address}" in self.script else "RCPT"
                taken += (await self._reply(writer, step, "250 ok")).startswith("250")
            elif verb == "DATA":
                usual = "354 go on" if taken else "554 5.5.1 no valid recipients"
                if (await self._reply(writer, "DATA", usual)).startswith("354"):
                    await self._message(reader, writer)
                taken = 0
            else:
                usual = {"QUIT": "221 bye", "AUTH": "235 2.7.0 in"}.get(verb, "250 ok")
                await self._reply(writer, verb, usual)

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "body" in self.script:
            await reader.readexactly(1000)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await self._reply(writer, "body", DROP)
            await self._over.wait()
            raise _Dropped
        message = await self._unless_over(reader.readuntil(b".\r\n"))
        while not message.endswith(b"\r\n.\r\n") and message != b".\r\n":
            message += await self._unless_over(reader.readuntil(b".\r\n"))
        self.messages.append(message[:-3])
        await self._reply(writer, ".", "250 2.0.0 taken")

    async def _reply(self, writer: asyncio.StreamWriter, step: str, usual: str) -> str:
        reply = self.script.get(step, usual)
        if isinstance(reply, list):
            time = self._times[step] = self._times.get(step, -1) + 1
            reply = reply[min(time, len(reply) - 1)]
        if reply == DROP:
            raise _Dropped
        if reply == HANG:
            await self._over.wait()
            raise _Dropped
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._write(writer, step, reply if isinstance(reply, bytes) else reply.encode() + b"\r\n")
        return reply if isinstance(reply, str) else ""

    async def _write(self, writer: asyncio.StreamWriter, step: str, octets: bytes) -> None:
        if self.gathered and step.startswith(("MAIL", "RCPT")):
            self._held += octets
            return
        octets, self._held = self._held + octets, b""
        size = 1 if self.bytewise else len(octets)
        for start in range(0, len(octets), size):
            writer.write(octets[start : start + size])
            await writer.drain()
            await asyncio.sleep(0)

    async def _unless_over(self, line: Coroutine[Any, Any, bytes]) -> bytes:
        tasks: list[asyncio.Task[Any]] = [asyncio.ensure_future(line), asyncio.ensure_future(self._over.wait())]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        tasks[1].cancel()
        if not tasks[0].done():
            tasks[0].cancel()
            raise _Dropped
        result: bytes = tasks[0].result()
        return result


class _Dropped(Exception):  # noqa: N818 - a move of the script
    """The script says to hang up."""
