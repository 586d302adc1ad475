"""The relay at a steady load over kept connections, each message due at its time: `python -m bench.relay_rate`."""

from dataclasses import dataclass

from bench import machine
from bench.load import Plan
from bench.relay_messages import Door, doors, run

MESSAGES_A_MINUTE = 10_000


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    sessions: int
    rate: float
    seconds: int


CASES = (
    Case("10,000 a minute, 50 sessions", 50, MESSAGES_A_MINUTE / 60, 30),
    Case("10,000 a minute, 1,000 sessions", 1_000, MESSAGES_A_MINUTE / 60, 24),
)


def measure(door: Door, case: Case) -> str:
    each = round(case.rate * case.seconds / case.sessions)
    plan = Plan(
        port=door.ports["implicit"],
        tls="implicit",
        ca=door.ca,
        sign_in=door.sign_in,
        visits=case.sessions,
        each=each,
        rate=case.rate,
    )
    before = machine.cpu_seconds(door.pid)
    seen = run(plan)
    assert seen["accepted"] == each * case.sessions
    # The CPU of coming and going is in it; the time for it is not.
    share = (machine.cpu_seconds(door.pid) - before) / seen["seconds"] * 100
    p50, p95, p99 = machine.percentiles(seen["accept"])
    rate = seen["accepted"] / seen["seconds"] * 60
    return f"{case.name:34} {rate:9.0f} {share:7.1f} % {p50:8.1f} {p95:8.1f} {p99:8.1f}"


def main() -> None:
    print("Steady load over kept TLS connections, 4 KB: CPU of one core, and ms from the end of DATA to the 250")
    print(f"{'':34} {'a minute':>9} {'CPU':>9} {'P50':>8} {'P95':>8} {'P99':>8}")
    with doors() as (relay, _):
        for case in CASES:
            print(measure(relay, case), flush=True)
    print("Targets: 50 % of a core, P95 below 100 ms.\n")


if __name__ == "__main__":
    main()
