"""The whole product, as `make up` starts it, in a folder and on ports of its own."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from local import stack as stacks
from local.arguments import Options
from local.state import Stack

ROOT = Path(__file__).parents[2]
# Short waits, so that a test sees a lease run out and a retry come due.
ENV = """
WORKER_LEASE_SECONDS=4
WORKER_POLL_SECONDS=1
WORKER_RETRY_SECONDS=[1, 1, 2]
WORKER_UNKNOWN_SECONDS=1
WORKER_DISPATCH_SECONDS=0.5
"""


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    state = tmp_path_factory.mktemp("stack")
    (state / ".env").write_text(ENV)
    options = Options(state=state, free_ports=True, fast=True, check_seconds=0.5, follow_parent=True)
    with stacks.running(options) as running:
        yield running


Client = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def client() -> Client:
    """Run the test client as its user does."""

    def run(*words: object) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "client", *map(str, words)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)

    return run
