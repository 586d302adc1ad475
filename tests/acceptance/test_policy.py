"""The relay of the running product keeps what it counts in the cache, and finds it there again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from local import stack as stacks
from local import tenant
from local.state import Stack
from tests.acceptance.conftest import ROOT, Client
from tests.acceptance.talk import MESSAGE, sent, server
from tests.acceptance.test_killed import kill
from tests.valkey import Valkey
from tests.waiting import wait_until

# Other accounts of the stack may be counted, too; this one is at its quota.
TOTAL = (
    """EVAL "for _, key in ipairs(redis.call('KEYS', 'smtp-proxy:quota:*')) do """
    """if redis.call('HGET', key, 'total') == '2' then return 2 end end return 0" 0"""
)


def operator(stack: Stack, *words: str) -> str:
    command = [sys.executable, "-m", "backing", *words]
    run = subprocess.run(
        command, cwd=ROOT, env=stack.environment, capture_output=True, text=True, timeout=30, check=False
    )
    assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
    return run.stdout


@pytest.mark.requirement("EC-4")
def test_a_relay_that_was_killed_still_knows_what_an_account_has_sent(
    stack: Stack, client: Client, tmp_path: Path
) -> None:
    smtp = ("--smtp", f"127.0.0.1:{stack.ports['sink']}", "--smtp-tls", "none")
    made = (
        "account",
        "create",
        "counted",
        "--domain",
        tenant.DOMAINS[0],
        *smtp,
        "--quota",
        "month:messages:2",
        "--json",
    )
    account = json.loads(operator(stack, *made))
    password = tmp_path / "password"
    password.write_text(account["secret"])
    words = (
        *server(stack),
        "--ca",
        stack.ca_file,
        "--user",
        account["username"],
        "--password-file",
        password,
        *MESSAGE,
    )
    for _ in range(2):
        assert len(sent(client("send", *words, "--json"))) == 1
    cache = Valkey(tmp_path, stack.ports["valkey"])
    # What a cache away did not hear, it is told again once a minute.
    wait_until(lambda: cache.say(TOTAL) == ":2", 75, "the cache was not told")
    killed = stacks.describe(stack.state_dir).parts["relay"].pid
    kill(stack, "relay")

    def restarted() -> bool:
        relay = stacks.describe(stack.state_dir).parts["relay"]
        return (relay.pid, relay.state) != (killed, "healthy") and relay.state == "healthy"

    wait_until(restarted, 60, "the relay was not restarted")
    # It asks when the account signs in, and may take what comes before the answer; a stranger would take two.
    client("send", *words)
    run = client("send", *words)
    assert run.returncode == 1, run.stdout
    assert "452 4.7.1 Monthly quota of 2 messages reached, resets " in run.stderr
