"""CPU per message that goes out over SMTP, our provider against aiosmtplib: `python -m bench.worker_smtp`.

Both send over kept connections to a bare server on another processor, in turns, in this process.
"""

import asyncio
import os
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from itertools import repeat
from pathlib import Path
from statistics import median
from typing import Any

import aiosmtplib
import uvloop

from backing.ids import new_id
from bench import machine
from bench.server import files
from mail.job import Recipient
from worker.providers.base import Envelope, Setup
from worker.providers.smtp import SmtpProvider

RUNS = 5
EACH = 60
SENDER, RECIPIENT = "me@example.com", "someone@example.net"
TARGET = 0.2
_HERE = (ip_network("127.0.0.0/8"), ip_network("::1"))

Send = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    connections: int
    tls: str = "none"
    size: int = 10_240
    target: float | None = None


CASES = (
    Case("10 KB, 16 kept", 16, target=TARGET),
    Case("10 KB, 64 kept", 64, target=TARGET),
    Case("10 KB, 16 kept, TLS", 16, "implicit"),
    Case("10 KB, 64 kept, TLS", 64, "implicit"),
    Case("1 MB, 4 kept", 4, size=1_000_000),
)


@dataclass(frozen=True, slots=True)
class Peer:
    ports: dict[str, int]
    ca: Path

    @asynccontextmanager
    async def ours(self, case: Case, body: bytes) -> AsyncIterator[list[Send]]:
        """A sender for each connection."""
        config = {
            "host": "localhost",
            "port": self.ports[case.tls],
            "tls": case.tls,
            "max_connections": case.connections,
            "max_messages": 10_000,
        }
        if case.tls != "none":
            config["ca"] = self.ca.read_text("ascii")
        provider = await SmtpProvider.create(Setup(new_id(), "bench", config, None), allowed=_HERE)
        key = new_id()
        envelope = Envelope(
            message_id=key, key=key, account_id=key, mail_from=SENDER, recipients=((0, Recipient(RECIPIENT)),)
        )

        async def send() -> None:
            (result,) = await provider.send(envelope, body, asyncio.get_running_loop().time() + 60)
            assert result.code == 250, result

        yield [send] * case.connections
        await provider.close()

    @asynccontextmanager
    async def theirs(self, case: Case, body: bytes) -> AsyncIterator[list[Send]]:
        """The same with aiosmtplib."""
        tls: dict[str, Any] = {"use_tls": True, "tls_context": ssl.create_default_context(cafile=self.ca)}
        options = {"start_tls": False} | (tls if case.tls != "none" else {})

        def sender(client: aiosmtplib.SMTP) -> Send:
            async def send() -> None:
                await client.sendmail(SENDER, [RECIPIENT], body)

            return send

        async with AsyncExitStack() as stack:
            clients = [
                await stack.enter_async_context(
                    aiosmtplib.SMTP(hostname="localhost", port=self.ports[case.tls], **options)
                )
                for _ in range(case.connections)
            ]
            yield [sender(client) for client in clients]


async def per_message(senders: list[Send], each: int) -> float:
    """CPU milliseconds of this process per message."""
    await all_of(senders, 1)  # connects
    before = time.process_time()
    await all_of(senders, each)
    return (time.process_time() - before) * 1000 / (len(senders) * each)


async def all_of(senders: list[Send], each: int) -> None:
    async def some(send: Send) -> None:
        for _ in repeat(None, each):
            await send()

    async with asyncio.TaskGroup() as tasks:
        for send in senders:
            tasks.create_task(some(send))


async def compare(peer: Peer) -> None:
    for case in CASES:
        line = b"x" * 76 + b"\r\n"
        body = b"Subject: Bench\r\n\r\n" + line * (case.size // len(line))
        each = EACH if case.size < 100_000 else 10
        runs = []
        for _ in range(RUNS):
            figures = []
            for way in (peer.theirs, peer.ours):
                async with way(case, body) as senders:
                    figures.append(await per_message(senders, each))
            runs.append(figures)
        theirs, ours = (median(figures) for figures in zip(*runs, strict=True))
        target = f"{case.target:7.2f}" if case.target else ""
        print(f"{case.name:32} {theirs:12.3f} {ours:9.3f} {ours / theirs:7.2f} {target}", flush=True)


def main() -> None:
    print(f"CPU milliseconds of the sending process per message, to one recipient, median of {RUNS} runs.")
    print(f"{'':32} {'aiosmtplib':>12} {'provider':>9} {'ratio':>7} {'target':>7}")
    mine, others = machine.cores()
    before = os.sched_getaffinity(0)
    with tempfile.TemporaryDirectory() as name:
        files(Path(name))
        with machine.program(others, "bench.floor", name) as process:
            peer = Peer(machine.said(process)["ports"], Path(name) / "ca.pem")
            os.sched_setaffinity(0, mine)
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                runner.run(compare(peer))
            os.sched_setaffinity(0, before)
    print("The provider pipelines, checks the message, and reads the answer for each recipient; aiosmtplib does not.\n")


if __name__ == "__main__":
    main()
