import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local import settings, stack, state
from local.arguments import Options
from local.state import Stack

FAKE_STACK = "tests.local.fake_stack"
Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def options(tmp_path: Path) -> Options:
    """An independent stack with fake doors that is checked often."""
    return Options(
        state=tmp_path, only=("worker",), free_ports=True, fast=True, reload=True, check_seconds=0.1, follow_parent=True
    )


@pytest.fixture
def fakes(options: Options) -> Iterator[Stack]:
    with stack.running(options, FAKE_STACK) as running:
        yield running


@pytest.fixture
def local() -> Run:
    """Run the command and return what it said."""

    def run(*arguments: str, program: str = "local", **more: Any) -> "subprocess.CompletedProcess[str]":
        command = [settings.python(), "-m", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=90, **more)

    return run


def events(state_dir: Path) -> list[dict[str, Any]]:
    """What the fake doors wrote down."""
    return [json.loads(line) for line in (state_dir / "fake/events.jsonl").read_text().splitlines()]


def await_true(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def pids(running: Stack) -> list[int]:
    return [part.pid for part in stack.describe(running.state_dir).parts.values() if part.pid]


def are_gone(processes: list[int]) -> bool:
    return not any(map(state.is_running, processes))


def is_root() -> bool:
    return os.geteuid() == 0
