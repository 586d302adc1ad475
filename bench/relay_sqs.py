"""CPU per message of relay and worker in a whole local stack, SQS and S3 included: `python -m bench.relay_sqs`."""

import base64
import tempfile
import time
from pathlib import Path
from statistics import median

from bench import machine
from bench.load import Plan
from bench.relay_messages import RUNS, run
from local import evidence, tenant
from local import stack as stacks
from local.arguments import Options
from local.state import Stack

CASES = (
    ("4 KB, kept STARTTLS", 4_096, 16, 40),
    ("10 KB, kept STARTTLS", 10_240, 16, 40),
    ("10 KB, one per STARTTLS", 10_240, 240, 1),
    ("1 MB, kept STARTTLS", 1_000_000, 4, 8),
)


def settle(stack: Stack) -> None:
    """Wait until the worker has nothing more to deliver."""
    quiet, known = 0, -1
    while quiet < 5:
        now = sum(1 for _ in (stack.mail / "new").iterdir())
        quiet, known = (quiet + 1, now) if now == known else (0, now)
        time.sleep(0.2)


def plan(stack: Stack, size: int, visits: int, each: int) -> Plan:
    password = Path(tenant.password_file(stack.state_dir)).read_text("utf-8").strip()
    return Plan(
        port=stack.ports["RELAY_STARTTLS_PORT"],
        tls="starttls",
        ca=str(stack.ca_file),
        sign_in=base64.b64encode(f"\0{tenant.NAME}\0{password}".encode()).decode(),
        size=size,
        visits=visits,
        at_a_time=min(visits, 16),
        each=each,
        sender="bench@local.example",
    )


def per_message(stack: Stack, pids: list[int], load: Plan) -> list[float]:
    """CPU milliseconds per message of each process."""
    before = [machine.cpu_seconds(pid) for pid in pids]
    accepted = run(load)["accepted"]
    settle(stack)
    return [(machine.cpu_seconds(pid) - was) * 1000 / accepted for pid, was in zip(pids, before, strict=True)]


def report(stack: Stack) -> None:
    pids = [pid for pid in (stack.parts[name].pid for name in ("relay", "worker")) if pid is not None]
    print(f"CPU milliseconds per message with real local SQS and S3, 16 connections, median of {RUNS} runs")
    print(f"{'':34} {'relay':>8} {'worker':>8}")
    for name, *amounts in CASES:
        runs = [per_message(stack, pids, plan(stack, *amounts)) for _ in range(RUNS)]
        relay, worker = (median(figures) for figures in zip(*runs, strict=True))
        print(f"{name:34} {relay:8.2f} {worker:8.2f}", flush=True)
    arrived = evidence.arrived(stack)
    twice = sum(1 for mails in arrived.values() if len(mails) > 1)
    print(
        f"The worker claims, delivers, records, deletes. Delivered: {len(arrived)} messages, {twice} of them twice.\n"
    )


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = Options(state=Path(folder).resolve(), free_ports=True, follow_parent=True)
        with stacks.running(options) as stack:
            report(stack)


if __name__ == "__main__":
    main()
