"""For tests, the demo and the curious: look at a stack, start one, stop one."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from local import lock, settings, state
from local.arguments import Options
from local.lock import AlreadyRunning
from local.places import Places
from local.state import Stack

START_SECONDS = 150.0
STOP_SECONDS = 120.0
POLL_SECONDS = 0.05
PROGRAM = "local"


class NotStarted(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The stack did not come up; says which part could not start, why, and what it said last."""


class NeverStarted(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """There is no stack in the folder."""


class NotStopped(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The stack did not end in time."""


def describe(state_dir: Path) -> Stack:
    """Read what a state folder says about its stack, running or not.

    Raises:
        NeverStarted: it says nothing.
    """
    if found := state.read(Places(state_dir).stack_file):
        return found
    raise NeverStarted(f"{state_dir}: never started; `python -m local up` does")


def is_up(state_dir: Path) -> bool:
    """Tell whether a supervisor runs there."""
    return lock.holder(state_dir) is not None


def launch(options: Options, program: str = PROGRAM) -> "subprocess.Popen[bytes]":
    """Start a supervisor in the background, in a session of its own; it may not be ready when this returns."""
    places = Places(options.state)
    places.create()
    with (places.log / "supervisor.log").open("ab") as log:
        return subprocess.Popen(
            [settings.python(), "-m", program, "up", *options.command_line()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=settings.ROOT,
            start_new_session=True,
        )


def await_ready(supervisor: "subprocess.Popen[bytes]", state_dir: Path, seconds: float = START_SECONDS) -> Stack:
    """Wait until everything is healthy.

    Raises:
        NotStarted: something is not.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        ended = supervisor.poll() is not None
        stack = state.read(Places(state_dir).stack_file)
        if stack and stack.pid == supervisor.pid:
            if stack.phase == "running":
                return stack
            if ended and stack.failure:
                raise NotStarted(str(stack.failure))
        if ended:
            raise NotStarted(_last_words(state_dir))
        time.sleep(POLL_SECONDS)
    raise NotStarted(f"not everything is healthy after {seconds:g} s; `python -m local status` shows what is not")


def start(options: Options, program: str = PROGRAM) -> Stack:
    """Start a stack, wait until everything is healthy, and leave it running; if not, nothing of it stays.

    Raises:
        NotStarted: something is not.
        AlreadyRunning: one runs there.
    """
    if pid := lock.holder(options.state):
        raise AlreadyRunning(options.state, pid)
    supervisor = launch(options, program)
    with _ended_unless_ready(supervisor):
        return await_ready(supervisor, options.state)


def stop(state_dir: Path, seconds: float = STOP_SECONDS) -> bool:
    """Stop a stack and wait until it has ended; False if none ran.

    Raises:
        NotStopped: it still runs.
    """
    pid = lock.holder(state_dir)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while lock.holder(state_dir) == pid:
        if time.monotonic() > deadline:
            raise NotStopped(f"process {pid} has not ended within {seconds:g} s")
        time.sleep(POLL_SECONDS)
    return True


@contextmanager
def running(options: Options, program: str = PROGRAM) -> Iterator[Stack]:
    """Have a stack for a while; it ends with the block, or with this process, even if that is killed.

    Raises:
        NotStarted: something is not healthy.
    """
    supervisor = launch(replace(options, follow_parent=True), program)
    with _ended_unless_ready(supervisor):
        stack = await_ready(supervisor, options.state)
    try:
        yield stack
    finally:
        _end(supervisor)


def wait_for(state_dir: Path, condition: Callable[[Stack], bool], seconds: float = 30.0) -> Stack:
    """Wait until a stack is as wished, for example until a part that was killed is healthy again.

    Raises:
        TimeoutError: it never was.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        stack = state.read(Places(state_dir).stack_file)
        if stack and condition(stack):
            return stack
        time.sleep(POLL_SECONDS)
    raise TimeoutError(f"not within {seconds:g} s: {describe(state_dir)}")


@contextmanager
def _ended_unless_ready(supervisor: "subprocess.Popen[bytes]") -> Iterator[None]:
    try:
        yield
    except BaseException:
        _end(supervisor)
        raise


def _end(supervisor: "subprocess.Popen[bytes]") -> None:
    supervisor.terminate()
    try:
        supervisor.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        # The kernel tells the parts.
        supervisor.kill()
        supervisor.wait()


def _last_words(state_dir: Path) -> str:
    text = (Places(state_dir).log / "supervisor.log").read_text(errors="replace")
    return "the supervisor ended:\n" + "\n".join(text.splitlines()[-15:])
