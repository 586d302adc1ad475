"""What mail that waits costs the worker, and how it comes back: `python -m bench.worker_backlog`.

The rows of a long outage are put into PostgreSQL. First none of them is due; then all of them are at once.
"""

import asyncio
import time
from dataclasses import dataclass
from statistics import median
from typing import Any, LiteralString
from uuid import UUID

from backing.postgres.deliveries import SQL
from bench import machine, site
from bench.rows import Old
from bench.site import Line, Site

ROWS = 130_000
SIZE = 10_240
IDLE_SECONDS = 6
BACK_SECONDS = 20
MOST_IN_FLIGHT = 1000
WARM_UP = 64
_LOOK_SECONDS = 0.2
_EXPLAINED = 5

ALL_DUE: tuple[LiteralString, ...] = (
    "UPDATE recipient SET next_attempt_at = now() WHERE account_id = %(account)s AND state = 'deferred'",
    "UPDATE delivery SET next_attempt_at = now(), dispatch_at = now() WHERE account_id = %(account)s",
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Mail of one account that waits; all of it shares one body in S3."""

    site: Site
    line: Line
    account: UUID

    def let_all_be_due(self) -> None:
        with self.site.database.transaction():
            for statement in ALL_DUE:
                self.site.database.execute(statement, {"account": self.account})

    async def idle(self) -> float:
        """CPU milliseconds of the worker in a second in which there is nothing to do."""
        before = machine.cpu_seconds(self.site.worker)
        await asyncio.sleep(IDLE_SECONDS)
        return (machine.cpu_seconds(self.site.worker) - before) * 1000 / IDLE_SECONDS

    def query_ms(self) -> float:
        """What the dispatcher's question takes in PostgreSQL."""
        question: Any = "EXPLAIN (ANALYZE, FORMAT JSON) " + SQL["due"]
        times = []
        for _ in range(_EXPLAINED):
            with self.site.database.transaction(force_rollback=True):
                row = self.site.database.execute(question, {"most": 100}).fetchone()
            assert row
            times.append(row[0][0]["Execution Time"])
        return float(median(times))

    async def come_back(self) -> str:
        """Watch the queue, the worker's memory and its CPU for a while; gives a line of figures."""
        before, began = machine.cpu_seconds(self.site.worker), time.perf_counter()
        waiting, flying, octets = [0], [0], [0]
        while time.perf_counter() - began < BACK_SECONDS:
            now = await self.line.standing()
            waiting.append(now[0])
            flying.append(now[1])
            octets.append(machine.resident_bytes(self.site.worker))
            await asyncio.sleep(_LOOK_SECONDS)
        seconds = time.perf_counter() - began
        done = self.site.accepted(self.account)
        cpu = (machine.cpu_seconds(self.site.worker) - before) * 1000 / done
        most = f"{max(flying):9} {MOST_IN_FLIGHT:7} {max(waiting):9} {max(octets) / 2**20:9.0f}"
        return f"{most} {done / seconds:9.0f} {cpu:9.2f}"


async def measure(here: Site) -> None:
    body = site.message(SIZE)
    async with site.line() as line, site.stored(body) as place:
        backlog = Backlog(here, line, here.smtp_account("bench-late"))
        await line.fill(site.jobs(here.smtp_account("bench-warm"), WARM_UP, body))
        await line.empty()
        print(f"{'':34} {'CPU ms a second':>16} {'dispatcher, ms':>15}")
        print(f"{'nothing waits':34} {await backlog.idle():16.1f} {backlog.query_ms():15.2f}", flush=True)
        Old(backlog.account, ROWS, body, place, waits=True).fill(here.database)
        idle, query = await backlog.idle(), backlog.query_ms()
        print(f"{f'{ROWS:,} messages wait, none is due':34} {idle:16.1f} {query:15.2f}", flush=True)
        backlog.let_all_be_due()
        print(f"{'':9} {'in flight':>9} {'target':>7} {'waiting':>9} {'MiB':>9} {'a second':>9} {'CPU ms':>9}")
        print(f"{'all due':9} {await backlog.come_back()}", flush=True)


def main() -> None:
    print(
        f"A backlog: CPU of the worker that has nothing to do over {IDLE_SECONDS} s, and the time of the dispatcher's"
    )
    print("question in PostgreSQL, each two seconds. Then all of it is due at once: most on the queue, memory of the")
    print(f"worker, messages delivered over SMTP and CPU for each, in the first {BACK_SECONDS} s.")
    with site.standing() as here:
        asyncio.run(measure(here))
    print(
        "The dispatcher puts no more on the queue while 5,000 wait there, and the worker takes what it has room for.\n"
    )


if __name__ == "__main__":
    main()
