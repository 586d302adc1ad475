"""`python -m local demo`, and what would make it fail."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from local.demo import faults
from local.evidence import Arrived, Steps
from local.letters import Sent
from local.state import Stack
from tests.acceptance.test_policy import operator

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 22, tzinfo=UTC)
SENT = Sent("text", "starttls", "id-1", 10, "aa", 1.0)
STEPS = Steps("id-1", "S", NOW, NOW, NOW, NOW, NOW, "w", "250 ok", "accepted")
MAIL = Arrived(Path("mail"), "aa", ("a@b",))


def test_the_demo_proves_100_messages(stack: Stack) -> None:
    command = [sys.executable, "-m", "local", "demo", "--state", str(stack.state_dir)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    lines = run.stdout.splitlines()
    assert lines[-1] == "All 100 messages arrived once, byte for byte."
    table = [line.split() for line in lines if line.startswith(("text ", "HTML, ", "8-bit ", "SMTPUTF8 ", "5 MB "))]
    assert [[int(cell) for cell in row if cell.isdigit()][-7:][:5] for row in table if row[0] != "5"] == [
        [count] * 5 for count in (40, 24, 16, 16)
    ]


def test_a_demo_that_is_refused_says_why_and_no_more(stack: Stack) -> None:
    operator(stack, "account", "set", "local", "--quota", "hour:messages:1")
    try:
        command = [sys.executable, "-m", "local", "demo", "--state", str(stack.state_dir)]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    finally:
        operator(stack, "account", "set", "local", "--no-quota", "hour:messages")
    assert (run.returncode, run.stderr) == (1, "")
    assert "error: not everything was accepted\ntext, starttls: " in run.stdout
    assert "x 452 4.7.1 Hourly quota of 1 messages reached, resets " in run.stdout


def test_the_demo_fails_for_each_thing_that_can_be_wrong() -> None:
    def wrong(steps: dict[str, Steps], mail: dict[str, list[Arrived]]) -> list[str]:
        return list(faults([SENT], steps, mail))

    deferred = Steps("id-1", "S", NOW, NOW, NOW, NOW, NOW, "w", "451 later", "deferred")
    assert wrong({"id-1": STEPS}, {"id-1": [MAIL]}) == []
    assert wrong({}, {}) == ["text id-1 is not claimed: no worker has it"]
    assert wrong({"id-1": deferred}, {}) == ["text id-1 is deferred: 451 later"]
    assert wrong({"id-1": STEPS}, {}) == ["text id-1 arrived 0 times"]
    assert wrong({"id-1": STEPS}, {"id-1": [MAIL, MAIL]}) == ["text id-1 arrived 2 times"]
    assert wrong({"id-1": STEPS}, {"id-1": [Arrived(Path("m"), "bb", ())]}) == [
        "text id-1 was changed: sent SHA-256 aa, arrived bb"
    ]
