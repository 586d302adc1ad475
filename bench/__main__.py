"""`make bench`: CPU per message of relay and worker, with stock aiosmtpd beside them, on a stack of its own."""

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from local import evidence, tenant
from local import stack as stacks
from local.arguments import Options
from local.ports import LOOPBACK
from local.state import Stack

RUNS = 3
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    count: int
    per_connection: int
    size: int


CASES = (
    Case("10 KiB, 20 messages a connection", 960, 20, 10_240),
    Case("10 KiB, 1 message a connection", 320, 1, 10_240),
    Case("1 MiB, 5 messages a connection", 80, 5, 1_048_576),
)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(stack: Stack, port: int, case: Case) -> None:
    words = (str(port), str(stack.ca_file), tenant.NAME, str(tenant.password_file(stack.state_dir)))
    amounts = (str(case.count), str(case.per_connection), str(case.size))
    subprocess.run([sys.executable, "-m", "bench.load", *words, *amounts], check=True)


def per_message(pids: list[int], stack: Stack, port: int, case: Case) -> list[float]:
    """CPU milliseconds per message of each process, the median of the runs."""
    figures: list[list[float]] = [[] for _ in pids]
    for _ in range(RUNS):
        before = [cpu_seconds(pid) for pid in pids]
        load(stack, port, case)
        settle(stack)
        for figure, pid, was in zip(figures, pids, before, strict=True):
            figure.append((cpu_seconds(pid) - was) * 1000 / case.count)
    return [statistics.median(figure) for figure in figures]


def settle(stack: Stack) -> None:
    """Wait until the worker has nothing more to deliver."""
    quiet, known = 0, -1
    while quiet < 5:
        now = sum(1 for _ in (stack.mail / "new").iterdir())
        quiet, known = (quiet + 1, now) if now == known else (0, now)
        time.sleep(0.2)


@contextmanager
def stock(stack: Stack) -> Iterator[tuple[int, int]]:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port = int(probe.getsockname()[1])
    certificates = stack.state_dir / "certs"
    words = (str(port), str(certificates / "server.pem"), str(certificates / "server.key"))
    process = subprocess.Popen([sys.executable, "-m", "bench.stock", *words], stderr=subprocess.DEVNULL)
    try:
        while process.poll() is None and not listens(port):
            time.sleep(0.05)
        yield process.pid, port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        options = Options(state=Path(folder).resolve(), free_ports=True, follow_parent=True)
        with stacks.running(options) as stack:
            report(stack)


def report(stack: Stack) -> None:
    doors = [stack.parts[name].pid for name in ("relay", "worker")]
    pids = [pid for pid in doors if pid is not None]
    print("CPU milliseconds per message, STARTTLS and AUTH, 16 connections, median of 3 runs\n")
    print(f"{'':34} {'stock aiosmtpd':>15} {'relay':>8} {'ratio':>7} {'worker':>8}")
    for case in CASES:
        relay, worker = per_message(pids, stack, stack.ports["RELAY_STARTTLS_PORT"], case)
        with stock(stack) as (pid, port):
            (baseline,) = per_message([pid], stack, port, case)
        print(f"{case.name:34} {baseline:15.2f} {relay:8.2f} {relay / baseline:7.2f} {worker:8.2f}", flush=True)
    print("\nStock aiosmtpd keeps nothing; the relay hands every message to SQS before its 250, 1 MiB through S3.")
    print("The worker claims, delivers over kept SMTP connections, records, and deletes.")
    duplicates = [name for name, mails in evidence.arrived(stack).items() if len(mails) > 1]
    print(f"Delivered: {len(evidence.arrived(stack))} messages, {len(duplicates)} of them twice.")


if __name__ == "__main__":
    main()
