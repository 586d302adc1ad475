"""CPU per accepted message, relay against stock aiosmtpd: `python -m bench.relay_messages`.

The relay hands each message to a queue that keeps nothing; `make bench` measures it with SQS, too.
"""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bench import machine
from bench.load import Plan

RUNS = 3


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    tls: str
    size: int
    visits: int
    each: int
    pipelined: bool = False
    target: float | None = None
    at_a_time: int = 16


CASES = (
    Case("4 KB, kept, 50 sessions", "none", 4_096, 50, 200, target=0.3, at_a_time=50),
    Case("4 KB, kept, 50, pipelined", "none", 4_096, 50, 200, pipelined=True, at_a_time=50),
    Case("4 KB, kept, 16 sessions", "none", 4_096, 16, 100),
    Case("4 KB, kept, 16, pipelined", "none", 4_096, 16, 100, pipelined=True),
    Case("4 KB, one per connection", "none", 4_096, 500, 1),
    Case("4 KB, kept, TLS", "implicit", 4_096, 16, 100),
    Case("4 KB, kept, TLS, pipelined", "implicit", 4_096, 16, 100, pipelined=True),
    Case("4 KB, one per TLS connection", "implicit", 4_096, 400, 1, target=0.6),
    Case("4 KB, one per STARTTLS", "starttls", 4_096, 400, 1),
    Case("10 KB, kept, TLS", "implicit", 10_240, 16, 60),
    Case("10 KB, one per TLS connection", "implicit", 10_240, 300, 1),
    Case("1 MB, kept", "none", 1_000_000, 4, 10, target=0.2),
    Case("1 MB, kept, TLS", "implicit", 1_000_000, 4, 10),
)


@dataclass(frozen=True, slots=True)
class Door:
    """A server that runs, and how to come in."""

    pid: int
    ports: dict[str, int]
    ca: str
    sign_in: str


def run(plan: Plan) -> dict[str, Any]:
    """Put a load on a server; what the load saw."""
    with machine.program(machine.cores()[1], "bench.load", json.dumps(asdict(plan))) as process:
        return machine.said(process)


def per_message(door: Door, case: Case) -> float:
    """CPU milliseconds of the server per message."""
    plan = Plan(
        port=door.ports[case.tls],
        tls=case.tls,
        ca=door.ca,
        sign_in=door.sign_in,
        size=case.size,
        visits=case.visits,
        at_a_time=min(case.visits, case.at_a_time),
        each=case.each,
        pipelined=case.pipelined,
    )
    before = machine.cpu_seconds(door.pid)
    accepted: int = run(plan)["accepted"]
    assert accepted == case.visits * case.each
    return (machine.cpu_seconds(door.pid) - before) * 1000 / accepted


@contextmanager
def doors() -> Iterator[tuple[Door, Door]]:
    """The relay, and stock aiosmtpd."""
    core, _ = machine.cores()
    with tempfile.TemporaryDirectory() as folder, machine.program(core, "bench.server", folder) as ours:
        relay = Door(ours.pid, **machine.said(ours))
        with beside(relay, "bench.stock") as stock:
            yield relay, stock


@contextmanager
def beside(relay: Door, module: str) -> Iterator[Door]:
    """Another server with the relay's certificate."""
    core, _ = machine.cores()
    with machine.program(core, module, str(Path(relay.ca).parent)) as process:
        yield replace(relay, pid=process.pid, ports=machine.said(process)["ports"])


def main() -> None:
    print("CPU milliseconds of the server per message, 16 connections at a time where no number is said (1 MB: 4),")
    print(f"median of {RUNS} runs. The more sessions there are, the more of the relay's work is done in a row.")
    print(f"{'':32} {'stock aiosmtpd':>15} {'relay':>8} {'ratio':>7} {'target':>7} {'floor':>8} {'ratio':>7}")
    with doors() as (relay, stock), beside(relay, "bench.floor") as floor:
        for case in CASES:
            able = [door for door in (relay, stock, floor) if case.tls in door.ports]
            runs = [[per_message(door, case) for door in able] for _ in range(RUNS)]
            ours, theirs, *least = (median(figures) for figures in zip(*runs, strict=True))
            target = f"{case.target:7.2f}" if case.target else f"{'':7}"
            bare = f"{least[0]:8.3f} {least[0] / theirs:7.2f}" if least else ""
            print(f"{case.name:32} {theirs:15.3f} {ours:8.3f} {ours / theirs:7.2f} {target} {bare}", flush=True)
    print("Floor: a bare uvloop protocol with ready-made replies, no checks, keeping nothing; it has no STARTTLS.\n")


if __name__ == "__main__":
    main()
