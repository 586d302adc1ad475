"""An HTTP server that does what a script says, and remembers what it was asked."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final

DROP: Final = "drop"  # read the request, then hang up
DROP_UNREAD: Final = "drop unread"  # hang up as soon as something comes
HANG: Final = "hang"  # read the request and never answer
ECHO: Final = "echo"  # answer 401 with the request's own headers as the reason
HUGE: Final = "huge"  # answer 200 with more than anybody wants to read
HUGE_SIZE: Final = 100_000_000
_PIECE: Final = b" " * 1_000_000


@dataclass(frozen=True)
class Says:
    """An answer; a document is sent as JSON, a text as it is."""

    status: int
    body: Any = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def on_the_wire(self) -> bytes:
        text = self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()
        lines = [f"HTTP/1.1 {self.status} Said", f"Content-Length: {len(text)}"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        return "\r\n".join([*lines, "", ""]).encode() + text


@dataclass(frozen=True)
class Received:
    """A request as it came."""

    line: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


Move = Says | str


@dataclass
class Site:
    """Makes one move for each request; the last one repeats."""

    script: list[Move]
    context: ssl.SSLContext | None = None
    port: int = 0
    requests: list[Received] = field(default_factory=list)
    written: int = 0

    @property
    def url(self) -> str:
        return f"{'https' if self.context else 'http'}://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Site"]:
        self._over = asyncio.Event()
        self._talks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._meet, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self._over.set()
            server.close()
            for talk in self._talks:
                talk.cancel()
            if self._talks:
                await asyncio.wait(self._talks)
            await server.wait_closed()

    async def _meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
                while await self._answered(reader, writer):
                    pass
        finally:
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        if self.script == [DROP_UNREAD]:
            await reader.readexactly(1)
            return False
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        line, *lines = head.rstrip("\r\n").split("\r\n")
        headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        move = self.script[min(len(self.requests), len(self.script) - 1)]
        self.requests.append(Received(line, headers, body))
        if move == HANG:
            await self._over.wait()
        elif move == HUGE:
            await self._write_much(writer)
        elif move == ECHO:
            reason = "; ".join(f"{name}={value}" for name, value in sorted(headers.items()))
            answer = {"message": reason, "Message": reason, "ErrorCode": 10, "errors": [{"message": reason}]}
            writer.write(Says(401, answer).on_the_wire())
            await writer.drain()
        elif isinstance(move, Says):
            writer.write(move.on_the_wire())
            await writer.drain()
            return True
        return False

    async def _write_much(self, writer: asyncio.StreamWriter) -> None:
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {HUGE_SIZE}\r\n\r\n".encode())
        while self.written < HUGE_SIZE:
            writer.write(_PIECE)
            await writer.drain()
            self.written += len(_PIECE)
