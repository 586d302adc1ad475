"""CPU per message of the worker, from receive to delete, against a plain loop: `python -m bench.worker_messages`.

Both work off a queue of the same kind, one after the other, on the same processor; PostgreSQL and the stand-ins for SQS
and the providers have the others.
"""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass
from statistics import median
from uuid import UUID

from bench import machine, site
from bench.plain_worker import Plan
from bench.site import Line, Site
from mail.job import StoredBody

RUNS = 3
WARM_UP = 64


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    kind: str
    size: int = 10_240
    count: int = 600
    target: int | None = None


CASES = (
    Case("10 KB, SMTP, kept", "smtp", target=600),
    Case("10 KB, SES", "ses", target=250),
    Case("1 MB from S3, SMTP, kept", "smtp", size=1_000_000, count=32),
)


@dataclass(frozen=True, slots=True)
class Bench:
    """Both queues, and what is put on them."""

    site: Site
    ours: Line
    theirs: Line
    body: bytes
    place: StoredBody | None

    async def worker(self, account: UUID, count: int) -> float:
        """CPU milliseconds of the worker per message."""
        known = self.site.accepted(account)
        with self.site.halted():
            await self.ours.fill(site.jobs(account, count, self.body, self.place))
            before = machine.cpu_seconds(self.site.worker)
        await self.ours.empty()
        assert self.site.accepted(account) - known == count
        return (machine.cpu_seconds(self.site.worker) - before) * 1000 / count

    async def plain(self, account: UUID, plan: Plan) -> float:
        """The same of the plain loop."""
        await self.theirs.fill(site.jobs(account, plan.count, self.body, self.place))
        words = ("bench.plain_worker", json.dumps(asdict(plan)))
        with machine.program(machine.cores()[0], *words) as process:
            cpu: float = (await asyncio.to_thread(machine.said, process))["cpu"]
        assert await self.theirs.standing() == (0, 0)
        return cpu * 1000 / plan.count


def providers(here: Site) -> Mapping[str, UUID]:
    """An account for each kind."""
    return {
        "smtp": here.smtp_account("bench-smtp"),
        "ses": here.account("bench-ses", "ses", {"endpoint": here.takers["ses"]}),
    }


async def measure(here: Site) -> None:
    accounts = providers(here)
    async with AsyncExitStack() as stack:
        ours = await stack.enter_async_context(site.line())
        theirs = await stack.enter_async_context(site.line("plain"))
        for case in CASES:
            body = site.message(case.size)
            place = await stack.enter_async_context(site.stored(body)) if case.size > 700_000 else None
            bench = Bench(here, ours, theirs, body, place)
            plan = Plan(theirs.url, case.count, **{case.kind: here.takers[case.kind]})
            account = accounts[case.kind]
            await bench.worker(account, WARM_UP)
            runs = [(await bench.plain(account, plan), await bench.worker(account, case.count)) for _ in range(RUNS)]
            plain, worker = (median(figures) for figures in zip(*runs, strict=True))
            target = f"{case.target:7}" if case.target else ""
            line = f"{plain:9.2f} {1000 / plain:6.0f} {worker:9.2f} {1000 / worker:6.0f} {worker / plain:7.2f} {target}"
            print(f"{case.name:28} {line}", flush=True)


def main() -> None:
    print("CPU milliseconds per message from the queue to a provider and off the queue, and messages a second of one")
    print(f"core that follow from it; one recipient each, median of {RUNS} runs with a full queue.")
    print(f"{'':28} {'plain loop':>16} {'worker':>16} {'ratio':>7} {'target':>7}")
    with site.standing() as here:
        asyncio.run(measure(here))
    print("The plain loop: aioboto3 receives and deletes, aiosmtplib or aioboto3 sends. It claims and records nothing;")
    print("the worker writes message and attempt to PostgreSQL before it sends, and the result after that.\n")


if __name__ == "__main__":
    main()
