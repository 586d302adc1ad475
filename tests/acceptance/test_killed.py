"""Processes are killed in the middle of a batch; what was accepted is delivered."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from local import evidence
from local import stack as stacks
from local.state import Stack
from tests.acceptance.talk import MESSAGE, OUTCOMES, ask, trusting
from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
COUNT = 300


def batch(stack: Stack) -> "subprocess.Popen[str]":
    pace = ("--count", str(COUNT), "--rate", "100", "--concurrency", "4", "--messages-per-connection", "10", "--json")
    command = [sys.executable, "-m", "client", "batch", *trusting(stack), *MESSAGE, *pace]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def kill(stack: Stack, part: str) -> None:
    now = stacks.describe(stack.state_dir)
    pid = now.parts[part].pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)


def is_healthy(stack: Stack, part: str) -> bool:
    now = stacks.describe(stack.state_dir)
    return now.parts[part].state == "healthy"


def accepted(run: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    out, _ = run.communicate(timeout=100)
    return [message for message in json.loads(out)["messages"] if message["accepted"]]


def mails(stack: Stack) -> int:
    return len(list((stack.mail / "new").iterdir()))


@pytest.mark.requirement("EC-4")
@pytest.mark.parametrize("part", ["worker", "relay", "postgres", "sink"])
def test_kill_9_in_the_middle_of_a_batch_loses_nothing(stack: Stack, part: str) -> None:
    before = mails(stack)
    run = batch(stack)
    wait_until(lambda: mails(stack) > before + COUNT // 6, 60, "nothing arrives")
    kill(stack, part)
    messages = accepted(run)
    # The relay's death refuses some of the batch; nobody who sends notices the others'.
    assert len(messages) > COUNT // 6 if part == "relay" else len(messages) == COUNT

    steps = evidence.await_outcome(stack, [message["queue_id"] for message in messages], 90)
    states = {message["queue_id"]: steps[message["queue_id"]].state for message in messages}
    assert {queue_id: state for queue_id, state in states.items() if state != "accepted"} == {}

    mail = evidence.arrived(stack)
    changed = [m["queue_id"] for m in messages if {a.sha256 for a in mail[m["queue_id"]]} != {m["sha256"]}]
    assert changed == []
    # Twice only where SMTP itself cannot know: taken by the provider, and nothing of us left to write that down.
    twice = [m["queue_id"] for m in messages if len(mail[m["queue_id"]]) > 1]
    assert [queue_id for queue_id in twice if ("unknown",) not in ask(stack, OUTCOMES, queue_id)] == []
    wait_until(lambda: is_healthy(stack, part), 60, f"{part} was not restarted")
