"""CPU per accepted message, relay against Postfix and Exim where they are installed: `python -m bench.relay_peers`."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from statistics import median

from bench.load import Plan
from bench.peers.exim import EXIM
from bench.peers.family import cpu_seconds
from bench.peers.postfix import POSTFIX
from bench.peers.start import CannotStart, Peer
from bench.relay_messages import RUNS, Case, Door, doors, run

AT_A_TIME = 50
CASES = (
    Case("4 KB, kept, 50 connections", "none", 4_096, AT_A_TIME, 30),
    Case("4 KB, one per connection", "none", 4_096, 500, 1),
    Case("10 KB, kept, 50 connections", "none", 10_240, AT_A_TIME, 20),
    Case("4 KB, kept, 50 TLS connections", "implicit", 4_096, AT_A_TIME, 30),
    Case("4 KB, one per TLS connection", "implicit", 4_096, 400, 1),
    Case("10 KB, kept, 50 TLS connections", "implicit", 10_240, AT_A_TIME, 20),
)


def per_message(door: Door, case: Case) -> float:
    """CPU milliseconds of all processes of a server per message."""
    plan = Plan(
        port=door.ports[case.tls],
        tls=case.tls,
        ca=door.ca,
        sign_in=door.sign_in,
        size=case.size,
        visits=case.visits,
        at_a_time=AT_A_TIME,
        each=case.each,
    )
    before = cpu_seconds(door.pid)
    accepted: int = run(plan)["accepted"]
    assert accepted == case.visits * case.each
    return (cpu_seconds(door.pid) - before) * 1000 / accepted


@contextmanager
def started(programs: dict[Peer, str], relay: Door) -> Iterator[dict[Peer, Door]]:
    """Those peers that start here; a line for each that does not."""
    with ExitStack() as stack:
        able = {}
        for peer, program in programs.items():
            try:
                able[peer] = stack.enter_context(peer.running(program, relay))
            except CannotStart as reason:
                print(f"{peer.name} is installed but cannot be started here: {reason}.")
        yield able


def table(relay: Door, stock: Door, peers: dict[Peer, Door]) -> None:
    """One row for each case; all servers take their turns in each run."""
    print(f"CPU milliseconds of the server per message, {AT_A_TIME} connections at a time, median of {RUNS} runs")
    heads = "".join(f" {peer.name:>8} {'relay/' + peer.name:>14}" for peer in peers)
    print(f"{'':32} {'relay':>8} {'stock aiosmtpd':>15}{heads}")
    for case in CASES:
        runs = [[per_message(door, case) for door in (relay, stock, *peers.values())] for _ in range(RUNS)]
        ours, baseline, *theirs = (median(figures) for figures in zip(*runs, strict=True))
        cells = "".join(f" {figure:8.3f} {ours / figure:14.2f}" for figure in theirs)
        print(f"{case.name:32} {ours:8.3f} {baseline:15.3f}{cells}", flush=True)
    print("All processes of a server count, those that ended too. They do not all do the same:")
    for peer in peers:
        print(f"{peer.name}: {peer.terms}; keeps messages and log on disk, with temporary files; delivers none.")
    print("Relay: with AUTH PLAIN; its queue keeps nothing here, and its log goes nowhere. See the figures with SQS.\n")


def main() -> None:
    """Print the table, or in one line that there is nothing to compare with."""
    programs = {peer: program for peer in (POSTFIX, EXIM) if (program := peer.installed())}
    if not programs:
        print("Postfix and Exim: not installed here.\n")
        return
    with doors() as (relay, stock), started(programs, relay) as peers:
        if peers:
            table(relay, stock, peers)


if __name__ == "__main__":
    main()
