"""Ask a part over the network whether it works, the way its clients would."""

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from local.ports import LOOPBACK

TIMEOUT_SECONDS = 5.0
PG_PROTOCOL = 3 << 16


class Unhealthy(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The part does not answer as it should."""


class Probe(Protocol):
    """Something that can be asked."""

    async def ask(self) -> None:
        """Return if the part is well.

        Raises:
            Unhealthy: it answers, but wrongly.
            OSError: it does not answer.
        """


@asynccontextmanager
async def _connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    try:
        yield reader, writer
    finally:
        writer.close()


@dataclass(frozen=True, slots=True)
class Http:
    """Every path answers 200."""

    port: int
    paths: tuple[str, ...]

    async def ask(self) -> None:
        """Get each path."""
        for path in self.paths:
            async with _connected(self.port) as (reader, writer):
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.readline()).decode("latin-1").strip()
            if status.split(" ")[1:2] != ["200"]:
                raise Unhealthy(f"GET {path}: {status or 'no answer'}")


@dataclass(frozen=True, slots=True)
class Banner:
    """The server speaks first, or after a line of ours, and its line starts as expected."""

    port: int
    expected: bytes
    say: bytes = b""
    goodbye: bytes = b""

    async def ask(self) -> None:
        """Read the server's first line."""
        async with _connected(self.port) as (reader, writer):
            writer.write(self.say)
            line = await reader.readline()
            writer.write(self.goodbye)
        if not line.startswith(self.expected):
            raise Unhealthy(f"answered {line!r}")


@dataclass(frozen=True, slots=True)
class Postgres:
    """The server takes connections, which it does not while it recovers; the same question as pg_isready."""

    port: int
    user: str
    database: str

    async def ask(self) -> None:
        """Send a startup message; a request for authentication is the good answer."""
        body = b"user\0%b\0database\0%b\0\0" % (self.user.encode(), self.database.encode())
        async with _connected(self.port) as (reader, writer):
            writer.write(struct.pack("!ii", len(body) + 8, PG_PROTOCOL) + body)
            kind = await reader.read(1)
        if kind != b"R":
            raise Unhealthy("does not take connections")


async def ask(probe: Probe, timeout: float = TIMEOUT_SECONDS) -> str | None:  # noqa: ASYNC109 - a limit, not a control
    """Return None if the part is well, else what is wrong with it."""
    try:
        async with asyncio.timeout(timeout):
            await probe.ask()
    except TimeoutError:
        return f"no answer within {timeout:g} s"
    except Unhealthy as error:
        return str(error)
    except OSError as error:
        return error.strerror or str(error)
    return None
