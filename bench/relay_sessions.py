"""Memory of the relay per TLS session: `python -m bench.relay_sessions`."""

import json
from dataclasses import asdict

from bench import machine
from bench.load import Plan
from bench.relay_messages import Door, doors

IDLE, IDLE_LIMIT_MB = 5_000, 150
USED, USED_SIZE, USED_LIMIT_KB = 500, 300_000, 40
MB, KB = 1_000_000, 1024


def added(door: Door, visits: int, each: int) -> int:
    """Resident octets that open sessions add, signed in and at rest, some time after they have sent what they send.

    Four of them send at a time: what a message takes while it is under way is not what a session keeps.
    """
    plan = Plan(
        port=door.ports["implicit"],
        tls="implicit",
        ca=door.ca,
        sign_in=door.sign_in,
        size=USED_SIZE,
        visits=visits,
        at_a_time=4,
        each=each,
        hold=True,
    )
    before = machine.resident_bytes(door.pid)
    with machine.program(machine.cores()[1], "bench.load", json.dumps(asdict(plan))) as load:
        assert machine.said(load) == {"open": visits}
        machine.tell(load)
        assert machine.said(load) == {"sent": visits * each}
        return machine.resident_bytes(door.pid) - before


def main() -> None:
    print("Resident memory that TLS sessions add, KiB per session")
    print(f"{'':44} {'stock':>8} {'relay':>8} {'relay, all':>12} {'target':>10}")
    with doors() as (relay, stock):
        theirs, ours = added(stock, USED, 1), added(relay, USED, 1)
        name = f"{USED} sessions after a message of 300 KB"
        print(row(name, theirs / USED, ours / USED), f"{ours / MB:9.1f} MB  {USED_LIMIT_KB:4} KiB", flush=True)
    with doors() as (relay, stock):
        theirs, ours = added(stock, IDLE, 0), added(relay, IDLE, 0)
        print(row(f"{IDLE} idle sessions", theirs / IDLE, ours / IDLE), f"{ours / MB:9.1f} MB  {IDLE_LIMIT_MB:5} MB\n")


def row(name: str, theirs: float, ours: float) -> str:
    return f"{name:44} {theirs / KB:8.1f} {ours / KB:8.1f}"


if __name__ == "__main__":
    main()
