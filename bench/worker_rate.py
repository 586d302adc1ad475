"""How long a message waits for its provider at 70 % of what a worker can do: `python -m bench.worker_rate`.

The worker has half a processor: it runs in every other turn of `bench.half`, on a processor of its own. So it is the
worker that is the limit, and not PostgreSQL, the load, and the stand-ins for SQS and the provider, which share the
others. First its own limit is found, with a full queue, then mail comes at 70 % of it.
"""

import asyncio
import os
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from statistics import median
from uuid import UUID

from backing.sqs import MAX_BATCH, Outgoing
from bench import machine, site
from bench.site import Line, Site
from mail.job import encode

SHARE = 0.7
TARGET_MS = 1000
SIZE = 10_240
FULL_SPEED = 2000
RUNS = 3
SECONDS = 10
COMMITS = 30
WARM_UP = 500
_LOOK_SECONDS = 0.1

# From when the queue had it to when the result was written down, which is a little later than the provider's answer.
WAITS = """
SELECT extract(epoch FROM attempt.finished_at - message.queued_at)::float8
FROM message JOIN attempt ON attempt.delivery_id = message.id AND attempt.account_id = message.account_id
WHERE message.account_id = %s AND attempt.outcome = 'accepted' AND message.accepted_at >= %s
"""


@dataclass(slots=True)
class Seen:
    """What the queue and the processors looked like meanwhile."""

    waiting: list[int] = field(default_factory=list)
    flying: list[int] = field(default_factory=list)
    cpu: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Load:
    """Mail of one account onto the delivery queue."""

    site: Site
    line: Line
    account: UUID

    def batch(self) -> list[Outgoing]:
        jobs = site.jobs(self.account, MAX_BATCH, site.message(SIZE))
        return [Outgoing(encode(job), "bench") for job in jobs]

    async def at_full_speed(self, messages: int) -> tuple[float, float]:
        """Messages a second that the worker takes off a full queue, and what part of a processor it has for it."""
        with self.site.halted():
            await self.line.fill(site.jobs(self.account, messages, site.message(SIZE)))
        with self.half():
            began, before = time.perf_counter(), self._cpu()["worker"]
            await self.line.empty()
            seconds, after = time.perf_counter() - began, self._cpu()["worker"]
        return messages / seconds, (after - before) / seconds

    def half(self) -> AbstractContextManager[object]:
        """Let the worker run half of the time."""
        mine, _ = machine.cores()
        return machine.program(mine, "bench.half", str(self.site.worker))

    async def steadily(self, rate: float) -> None:
        """Put ten at a time on the queue, each ten when they are due."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for turn in count():
                due = turn * MAX_BATCH / rate
                if due > SECONDS:
                    break
                await asyncio.sleep(max(began + due - time.perf_counter(), 0))
                tasks.create_task(self.line.put(self.batch()))

    async def watched(self, rate: float) -> Seen:
        """The same, while somebody looks."""
        seen, began, before = Seen(), time.perf_counter(), self._cpu()
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(self._watch(seen))
            await self.steadily(rate)
            watching.cancel()
        await self.line.empty()
        seconds = time.perf_counter() - began
        seen.cpu = {name: (now - before[name]) / seconds * 100 for name, now in self._cpu().items()}
        return seen

    async def _watch(self, seen: Seen) -> None:
        while True:
            waiting, flying = await self.line.standing()
            seen.waiting.append(waiting)
            seen.flying.append(flying)
            await asyncio.sleep(_LOOK_SECONDS)

    def _cpu(self) -> dict[str, float]:
        postgres = self.site.stack.parts["postgres"].pid
        assert postgres
        return {
            "worker": machine.cpu_seconds(self.site.worker),
            "PostgreSQL": machine.family_cpu_seconds(postgres),
            "queue": machine.cpu_seconds(self.site.queue_pid),
            "load": machine.cpu_seconds(os.getpid()),
        }

    def waits(self, since: datetime) -> Sequence[float]:
        """Seconds that each message waited for its provider."""
        return [row[0] for row in self.site.database.execute(WAITS, [self.account, since])]


def commit_ms(here: Site) -> float:
    """What PostgreSQL takes to commit the least there is, while nobody else does."""
    here.database.execute("CREATE TABLE bench_commit (n integer)")
    times = []
    for n in range(COMMITS):
        began = time.perf_counter()
        here.database.execute("INSERT INTO bench_commit VALUES (%s)", [n])
        times.append((time.perf_counter() - began) * 1000)
    return median(times)


async def measure(here: Site) -> None:
    async with site.line() as line:
        load = Load(here, line, here.smtp_account("bench"))
        await load.at_full_speed(WARM_UP)
        most, share = max([await load.at_full_speed(FULL_SPEED) for _ in range(RUNS)])
        commit = commit_ms(here)
        since = datetime.now(UTC)
        with load.half():
            seen = await load.watched(most * SHARE)
        p50, p95, p99 = machine.percentiles(load.waits(since))
    queue = f"{max(seen.waiting):8} {max(seen.flying):9}"
    print(f"{most:8.0f} {most * SHARE:8.0f} {p50:8.0f} {p95:8.0f} {p99:8.0f} {TARGET_MS:7} {queue}")
    shares = ", ".join(f"{name} {share:.0f} %" for name, share in seen.cpu.items())
    print(f"At most speed the worker took {share:.0%} of a processor, of the half that it may have.")
    print(f"CPU of one core at the load offered: {shares}. All but the worker share what cores are left.")
    print(f"A commit of PostgreSQL takes {commit:.1f} ms on this disk; a message waits for three of them.\n")


def main() -> None:
    print("Milliseconds from when the queue had a message of 10 KB until it was known that an SMTP server took it, at")
    print(f"{SHARE:.0%} of the messages a second that a worker with half a processor takes off a full queue.")
    print(f"{'most':>8} {'offered':>8} {'P50':>8} {'P95':>8} {'P99':>8} {'target':>7} {'waiting':>8} {'in flight':>9}")
    with site.standing() as here:
        asyncio.run(measure(here))


if __name__ == "__main__":
    main()
