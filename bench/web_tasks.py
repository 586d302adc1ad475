"""Two processes of the API beside a local stack, as two tasks behind a load balancer, and what all of it takes."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus

from bench import machine
from bench.peers.family import family
from local import ports
from local.state import Stack

TASKS = 2
# What a task is told in AWS, as far as it matters here.
TOLD = {"WEB_HOST": ports.LOOPBACK, "HEALTH_HOST": ports.LOOPBACK, "DATABASE_POOL_MAX": "5", "WEB_GRACE_SECONDS": "0"}
_START_SECONDS, _PAUSE = 60, 0.1
_QUERIES = re.compile(r'^database_transaction_seconds_bucket\{le="([^"]+)"\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Tasks:
    """What runs.

    Attributes:
        ports: that requests go to.
        health_ports: where metrics are.
        pids: of what is measured, by name.
    """

    ports: tuple[int, ...]
    health_ports: tuple[int, ...]
    pids: dict[str, tuple[int, ...]]

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU that they took, with all that came from them and lives."""
        return {name: sum(map(_cpu_seconds, pids)) for name, pids in self.pids.items()}

    def queries(self) -> Counter[float]:
        """What PostgreSQL was asked so far, by the seconds within which it had answered: those of `/metrics`."""
        counts: Counter[float] = Counter()
        for port in self.health_ports:
            text = _get(port, "/metrics").decode()
            counts.update({float(bound): int(float(count)) for bound, count in _QUERIES.findall(text)})
        return counts


@contextmanager
def running(stack: Stack) -> Iterator[Tasks]:
    """Start them; they end with the block."""
    block = ports.reserve()
    numbers = list(zip(block.ports[:TASKS], block.ports[TASKS : 2 * TASKS], strict=True))
    try:
        with ExitStack() as started:
            pids = tuple(started.enter_context(_task(stack, *each)) for each in numbers)
            others = {name: (stack.parts[part].pid or 0,) for name, part in (("PG", "postgres"), ("Valkey", "valkey"))}
            yield Tasks(block.ports[:TASKS], block.ports[TASKS : 2 * TASKS], {"API": pids, **others})
    finally:
        block.guard.close()


@contextmanager
def bare() -> Iterator[Tasks]:
    """The same of an API that does nothing: `bench.bare_api`."""
    with ExitStack() as started:
        everywhere = os.sched_getaffinity(0)
        processes = [started.enter_context(machine.program(everywhere, "bench.bare_api")) for _ in range(TASKS)]
        numbers = tuple(machine.said(each)["port"] for each in processes)
        yield Tasks(numbers, (), {"API": tuple(each.pid for each in processes)})


@contextmanager
def _task(stack: Stack, port: int, health_port: int) -> Iterator[int]:
    told = {**TOLD, "WEB_PORT": str(port), "HEALTH_PORT": str(health_port)}
    environment = {**os.environ, **stack.environment, **told}  # noqa: TID251 - a process in the stack's environment
    with (stack.log / f"bench-{port}.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "web.api"], env=environment, stdout=log)
    try:
        deadline = time.monotonic() + _START_SECONDS
        while not _ready(health_port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the API did not start; see {log.name}")
            time.sleep(_PAUSE)
        yield process.pid
    finally:
        process.terminate()
        process.wait(_START_SECONDS)


def _cpu_seconds(pid: int) -> float:
    seconds = 0.0
    for member in family(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            seconds += machine.cpu_seconds(member)
    return seconds


def _ready(port: int) -> bool:
    with suppress(OSError):
        return bool(_get(port, "/readyz"))
    return False


def _get(port: int, path: str) -> bytes:
    with urllib.request.urlopen(f"http://{ports.LOOPBACK}:{port}{path}") as answer:
        assert answer.status == HTTPStatus.OK
        body: bytes = answer.read()
        return body
