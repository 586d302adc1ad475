"""A steady load of HTTP requests: `python -m bench.http_load PLAN`, where PLAN is a `Plan` as JSON.

Requests are ready-made octets on connections that stay, so that the load costs little beside what is measured. Prints
what it saw as one JSON object.
"""

import asyncio
import json
import re
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass, field
from itertools import cycle
from typing import cast

import uvloop
from typing_extensions import override

_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_GOOD = re.compile(rb"HTTP/1\.1 20[0-9] ")
# What is not answered so long after the last request was due has failed.
_LAST_SECONDS = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do.

    Attributes:
        ports: of the processes among which connections are spread evenly.
        paths: what is asked for, in turns.
        key: of the API, or empty.
        body: JSON that is posted; empty asks with GET.
        rate: requests a second, however long the answers take.
        connections: in all; a request that finds none free waits, and that counts.
    """

    ports: tuple[int, ...]
    paths: tuple[str, ...]
    rate: int
    seconds: float
    key: str = ""
    body: str = ""
    connections: int = 50

    def requests(self) -> list[bytes]:
        """The octets of each request."""
        method = "POST" if self.body else "GET"
        sign = f"Authorization: Bearer {self.key}\r\n" if self.key else ""
        content = f"Content-Type: application/json\r\nContent-Length: {len(self.body)}\r\n" if self.body else ""
        rest = f"Host: localhost\r\nAccept: */*\r\n{sign}{content}\r\n{self.body}"
        return [f"{method} {path} HTTP/1.1\r\n{rest}".encode("ascii") for path in self.paths]


@dataclass(slots=True)
class Seen:
    """What came of it.

    Attributes:
        failed: answers that are no success, connections that broke, and requests without an answer.
        seconds: from the first request to the last answer.
        taken: seconds of each request that was answered, from when it was due.
        cpu: seconds of CPU that the load itself took.
    """

    asked: int = 0
    failed: int = 0
    seconds: float = 0.0
    cpu: float = 0.0
    taken: list[float] = field(default_factory=list)


class Client(asyncio.Protocol):
    """One connection, with one request at a time."""

    def __init__(self, load: "Load") -> None:
        self._load = load
        self._input = b""
        self._due: float | None = None

    def ask(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @override
    def data_received(self, data: bytes) -> None:
        self._input += data
        end = self._input.find(_HEAD_END)
        if end < 0:
            return
        length = _LENGTH.search(self._input, 0, end + 2)
        if length and len(self._input) < end + len(_HEAD_END) + int(length[1]):
            return
        good = bool(length and _GOOD.match(self._input))
        due, self._due, self._input = self._due, None, b""
        assert due is not None
        self._load.answered(self, due, good=good)

    @override
    def connection_lost(self, _: Exception | None) -> None:
        if self._due is not None:
            self._load.settle(good=False)

    def close(self) -> None:
        self._due = None
        self._transport.close()


class Load:
    """Asks at a steady rate."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._requests = cycle(plan.requests())
        self._free: deque[Client] = deque()
        self._waiting: deque[float] = deque()
        self._open = round(plan.rate * plan.seconds)
        self._done = asyncio.Event()
        self._seen = Seen()

    async def run(self) -> Seen:
        plan, seen, loop = self._plan, self._seen, asyncio.get_running_loop()
        for n in range(plan.connections):
            port = plan.ports[n % len(plan.ports)]
            self._free.append((await loop.create_connection(lambda: Client(self), "127.0.0.1", port))[1])
        clients = list(self._free)
        cpu, began = time.process_time(), time.perf_counter()
        await self._ask_all(began)
        try:
            async with asyncio.timeout(_LAST_SECONDS):
                await self._done.wait()
        except TimeoutError:
            seen.failed += self._open
        seen.seconds, seen.cpu = time.perf_counter() - began, time.process_time() - cpu
        for client in clients:
            client.close()
        return seen

    async def _ask_all(self, began: float) -> None:
        seen, rate, total = self._seen, self._plan.rate, self._open
        while seen.asked < total:
            due = began + seen.asked / rate
            if (early := due - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            seen.asked += 1
            if self._free:
                self._free.popleft().ask(next(self._requests), due)
            else:
                self._waiting.append(due)

    def answered(self, client: Client, due: float, *, good: bool) -> None:
        self._seen.taken.append(time.perf_counter() - due)
        self.settle(good=good)
        if self._waiting:
            client.ask(next(self._requests), self._waiting.popleft())
        else:
            self._free.append(client)

    def settle(self, *, good: bool) -> None:
        self._seen.failed += not good
        self._open -= 1
        if not self._open:
            self._done.set()


async def _run(plan: Plan) -> Seen:
    return await Load(plan).run()


def main(plan: Plan) -> None:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(json.dumps(asdict(runner.run(_run(plan)))))


if __name__ == "__main__":
    main(Plan(**json.loads(sys.argv[1])))
