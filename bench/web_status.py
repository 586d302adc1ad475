"""How many status reads the API answers, and how fast (PR-3, CORE-PERF-002): real PostgreSQL, Valkey and queue."""

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from local import stack as stacks
from local import tenant
from local.arguments import Options
from local.state import Stack

RATES = (100, 500, 1000)
SECONDS = 10
CONNECTIONS = 50
LETTER = {
    "from": {"address": "app@local.example"},
    "to": [{"address": "someone@example.net"}],
    "subject": "Hello",
    "text": "Over HTTP.",
}


@dataclass
class Run:
    """Requests to one address at one rate."""

    http: aiohttp.ClientSession
    url: str
    taken: list[float] = field(default_factory=list)
    failed: int = 0

    async def one(self, due: float) -> None:
        async with self.http.get(self.url) as answer:
            await answer.read()
            self.failed += answer.status != 200
        # From when it should have begun: a client that waits for a connection waits for us.
        self.taken.append(time.perf_counter() - due)

    async def at(self, rate: int) -> float:
        """Gives the seconds that all of them took."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for n in range(rate * SECONDS):
                due = began + n / rate
                if due > time.perf_counter():
                    await asyncio.sleep(due - time.perf_counter())
                tasks.create_task(self.one(due))
        return time.perf_counter() - began


def main() -> None:
    """Start a stack, put load on its API, tell."""
    with tempfile.TemporaryDirectory() as folder:
        options = Options(state=Path(folder), free_ports=True, fast=True, follow_parent=True)
        with stacks.running(options) as stack:
            asyncio.run(_measure(stack, _key(stack)))
    print("Targets: 100/s with P95 below 100 ms; 1000/s on all tasks with P95 below 200 ms.\n")


def _key(stack: Stack) -> str:
    words = ("key", "create", "bench", "--account", tenant.NAME, "--rate", "1000000", "--json")
    environment = {**os.environ, **stack.environment}  # noqa: TID251 - the operator's command in the stack's environment
    made = subprocess.run(
        [sys.executable, "-m", "backing", *words], env=environment, capture_output=True, text=True, check=True
    )
    return made.stdout.split('"')[7]


async def _measure(stack: Stack, key: str) -> None:
    base, headers = f"http://127.0.0.1:{stack.ports['API_PORT']}/api/v1/messages", {"Authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(headers=headers, connector=aiohttp.TCPConnector(limit=CONNECTIONS)) as http:
        async with http.post(base, json=LETTER) as answer:
            message = (await answer.json())["id"]
        while (await http.get(f"{base}/{message}")).status != 200:  # noqa: ASYNC110 - the API has no event for it
            await asyncio.sleep(0.1)
        for name, url in (("status of a message", f"{base}/{message}"), ("search", base)):
            for rate in RATES:
                await _load(Run(http, url), name, rate, stack.parts["api"].pid or 0)


async def _load(run: Run, name: str, rate: int, pid: int) -> None:
    cpu = _cpu(pid)
    seconds = await run.at(rate)
    each, quantiles = (_cpu(pid) - cpu) / len(run.taken), statistics.quantiles(run.taken, n=100)
    p50, p95, p99 = (quantiles[n] * 1000 for n in (49, 94, 98))
    print(
        f"{name:20} {rate:5}/s asked {len(run.taken) / seconds:6.0f}/s answered, {run.failed} failed, "
        f"P50 {p50:7.1f}  P95 {p95:7.1f}  P99 {p99:7.1f} ms, {each * 1e6:5.0f} us of CPU each",
        flush=True,
    )


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
