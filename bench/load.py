"""A load of SMTP sessions: `python -m bench.load PLAN`, where PLAN is a `Plan` as JSON.

Prints what it saw as one JSON object; a reply that is not the expected one ends it with an error. With `hold`, it
prints {"open": ...} when all sessions stand, and goes on when it is sent a line.
"""

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Coroutine, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from itertools import count
from typing import Any

import uvloop

from bench.machine import raise_file_limit

SENDER, RECIPIENT = "me@example.com", "someone@example.net"
_AT_A_TIME = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do.

    Attributes:
        tls: none, implicit or starttls.
        visits: sessions in all.
        at_a_time: most of them open at once.
        each: messages of a session.
        rate: messages offered in a second over all sessions, all of them open; 0 is as fast as replies come.
        hold: whether to keep all sessions open until told to go on, before the first message.
    """

    port: int
    tls: str
    ca: str
    sign_in: str
    size: int = 4096
    visits: int = 16
    at_a_time: int = 16
    each: int = 1
    pipelined: bool = False
    rate: float = 0
    hold: bool = False
    sender: str = SENDER


@dataclass(slots=True)
class Seen:
    """What came of it; times in seconds.

    Attributes:
        setup: from the first packet to the reply to EHLO.
        ehlo: from EHLO to its reply.
        accept: from the end of DATA to its reply.
        transaction: from when MAIL was due to that reply.
    """

    accepted: int = 0
    seconds: float = 0.0
    setup: list[float] = field(default_factory=list)
    ehlo: list[float] = field(default_factory=list)
    accept: list[float] = field(default_factory=list)
    transaction: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One connection: sends octets, gives the codes of the replies."""

    def __init__(self) -> None:
        self._input = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport

    def data_received(self, data: bytes) -> None:
        self._input += data
        self._wake()

    def connection_lost(self, _: Exception | None) -> None:
        self._gone = True
        self._wake()

    async def ask(self, octets: bytes, *codes: bytes) -> None:
        self.transport.write(octets)
        for code in codes:
            await self.expect(code)

    async def expect(self, code: bytes) -> None:
        while (end := self._end()) < 0:
            if self._gone:
                raise ConnectionError(f"the server is gone; expected {code!r}")
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        reply = bytes(self._input[:end])
        del self._input[:end]
        if not reply.startswith(code):
            raise ConnectionError(f"expected {code!r}, got {reply!r}")

    def _end(self) -> int:
        """Where the first whole reply ends, or -1."""
        start = 0
        while (line := self._input.find(b"\r\n", start)) >= 0:
            if self._input[start + 3 : start + 4] != b"-":
                return line + 2
            start = line + 2
        return -1

    def _wake(self) -> None:
        if self._waiter and not self._waiter.done():
            self._waiter.set_result(None)


class Load:
    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.seen = Seen()
        self._context = ssl.create_default_context(cafile=plan.ca) if plan.tls != "none" else None
        self._numbers = count()
        line = b"x" * 76 + b"\r\n"
        self._text = line * max((plan.size - 100) // len(line), 1) + b".\r\n"
        self._mail = f"MAIL FROM:<{plan.sender}>\r\n".encode()
        self._rcpt = f"RCPT TO:<{RECIPIENT}>\r\n".encode()

    async def run(self) -> Seen:
        began = time.perf_counter()
        if self.plan.hold or self.plan.rate:
            await self._together()
        else:
            visits = iter(range(self.plan.visits))
            await _all(self._in_turn(visits) for _ in range(self.plan.at_a_time))
        self.seen.seconds = self.seen.seconds or time.perf_counter() - began
        return self.seen

    async def _in_turn(self, visits: Iterator[int]) -> None:
        for _ in visits:
            client = await self.enter()
            for _ in range(self.plan.each):
                await self.message(client, time.perf_counter())
            await self.leave(client)

    async def _together(self) -> None:
        gate = asyncio.Semaphore(_AT_A_TIME)
        clients: list[Client] = []

        async def enter() -> None:
            async with gate:
                clients.append(await self.enter())

        await _all(enter() for _ in range(self.plan.visits))
        if self.plan.hold:
            await self._pause({"open": len(clients)})
        began = time.perf_counter()
        if self.plan.rate:
            await _all(self._paced(client, began, n) for n, client in enumerate(clients))
        else:
            rest = iter(clients)
            await _all(self._taking(rest) for _ in range(self.plan.at_a_time))
        self.seen.seconds = time.perf_counter() - began
        if self.plan.hold:
            await self._pause({"sent": self.seen.accepted})
        await _all(self.leave(client) for client in clients)

    async def _paced(self, client: Client, began: float, number: int) -> None:
        for turn in range(self.plan.each):
            due = began + (turn * self.plan.visits + number) / self.plan.rate
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            await self.message(client, due)

    async def _taking(self, clients: Iterator[Client]) -> None:
        for client in clients:
            for _ in range(self.plan.each):
                await self.message(client, time.perf_counter())

    async def enter(self) -> Client:
        plan, loop = self.plan, asyncio.get_running_loop()
        began = time.perf_counter()
        tls: dict[str, Any] = {"ssl": self._context, "server_hostname": "localhost"}
        wrapped = tls if plan.tls == "implicit" else {}
        _, client = await loop.create_connection(Client, "127.0.0.1", plan.port, **wrapped)
        await client.expect(b"220")
        if plan.tls == "starttls":
            assert self._context
            await client.ask(b"EHLO client.example\r\n", b"250")
            await client.ask(b"STARTTLS\r\n", b"220")
            client.transport = await loop.start_tls(
                client.transport, client, self._context, server_hostname="localhost"
            )
        greeted = time.perf_counter()
        await client.ask(b"EHLO client.example\r\n", b"250")
        now = time.perf_counter()
        self.seen.setup.append(now - began)
        self.seen.ehlo.append(now - greeted)
        if plan.sign_in:
            await client.ask(f"AUTH PLAIN {plan.sign_in}\r\n".encode(), b"235")
        return client

    async def message(self, client: Client, due: float) -> None:
        if self.plan.pipelined:
            await client.ask(self._mail + self._rcpt + b"DATA\r\n", b"250", b"250", b"354")
        else:
            await client.ask(self._mail, b"250")
            await client.ask(self._rcpt, b"250")
            await client.ask(b"DATA\r\n", b"354")
        head = f"Subject: Bench\r\nMessage-ID: <{next(self._numbers)}.{time.time_ns()}@example.com>\r\n\r\n"
        said = time.perf_counter()
        await client.ask(head.encode() + self._text, b"250")
        now = time.perf_counter()
        self.seen.accepted += 1
        self.seen.accept.append(now - said)
        self.seen.transaction.append(now - due)

    async def leave(self, client: Client) -> None:
        await client.ask(b"QUIT\r\n", b"221")
        client.transport.close()

    async def _pause(self, document: dict[str, int]) -> None:
        print(json.dumps(document), flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def _all(steps: Iterable[Coroutine[Any, Any, None]]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for step in steps:
            tasks.create_task(step)


def main(plan: Plan) -> None:
    raise_file_limit()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(Load(plan).run()))))


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
