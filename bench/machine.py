"""The machine under the figures: its processors, and what a process of ours takes of it."""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

_STOP_SECONDS = 20


def cores() -> tuple[set[int], set[int]]:
    """Processors for the server and for the load; the same ones where there is only one."""
    mine = sorted(os.sched_getaffinity(0))
    return {mine[0]}, set(mine[1:]) or {mine[0]}


def raise_file_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


@contextmanager
def program(core: set[int], module: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """Run a module of ours on some processors until the block ends."""
    command = [sys.executable, "-m", module, *words]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        os.sched_setaffinity(process.pid, core)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(_STOP_SECONDS)


def pin(pid: int, core: set[int]) -> None:
    """Let all threads of a process run on some processors."""
    for thread in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(thread.name), core)


def said(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The next line that a program of ours prints: a JSON object."""
    assert process.stdout
    line = process.stdout.readline()
    if not line:
        raise SystemExit(f"{process.args!r} ended with {process.wait(_STOP_SECONDS)}")
    document: dict[str, Any] = json.loads(line)
    return document


def tell(process: subprocess.Popen[str]) -> None:
    """Let a program of ours go on that waits for it."""
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def cpu_seconds(pid: int) -> float:
    """Time that all threads of a process have had on a processor."""
    threads = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((thread / "schedstat").read_text("ascii").split()[0]) for thread in threads) / 1e9


def family_cpu_seconds(pid: int) -> float:
    """The same of a process and its children that live."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return cpu_seconds(pid) + sum(cpu_seconds(int(child)) for child in children)


def resident_bytes(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines())
    return int(fields["VmRSS"].split()[0]) * 1024


def percentiles(seconds: Sequence[float]) -> tuple[float, float, float]:
    """P50, P95, P99 in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1000, cuts[94] * 1000, cuts[98] * 1000
