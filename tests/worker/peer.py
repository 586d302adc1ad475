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

    A reply may be a list, one for each time; its last one repeats.
    """

    script: Mapping[str, Any] = field(default_factory=dict)
    extensions: tuple[str, ...] = EXTENSIONS
    context: ssl.SSLContext | None = None
    implicit: bool = False
    delay: float = 0.0
    port: int = 0
    sessions: int = 0
    commands: list[str] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    _times: dict[str, int] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, object]:
        return {"host": "127.0.0.1", "port": self.port, "tls": "none", "timeout": 1.0}

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
        while line := await self._unless_over(reader.readline()):
            words = line.decode().rstrip("\r\n")
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
                await self._reply(writer, f"RCPT {address}" if f"RCPT {address}" in self.script else "RCPT", "250 ok")
            elif verb == "DATA":
                if (await self._reply(writer, "DATA", "354 go on")).startswith("354"):
                    await self._message(reader, writer)
            else:
                usual = {"QUIT": "221 bye", "AUTH": "235 2.7.0 in"}
                await self._reply(writer, verb, usual.get(verb, "250 ok"))

    async def _message(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.script.get("body") == DROP:
            await reader.readexactly(1000)
            raise _Dropped
        message = await self._unless_over(reader.readuntil(b".\r\n"))
        while not message.endswith(b"\r\n.\r\n") and message != b".\r\n":
            message += await self._unless_over(reader.readuntil(b"\r\n.\r\n"))
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
        writer.write(reply if isinstance(reply, bytes) else reply.encode() + b"\r\n")
        await writer.drain()
        return reply if isinstance(reply, str) else ""

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
