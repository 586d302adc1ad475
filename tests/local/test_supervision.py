import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from local import lock, settings, stack
from local.arguments import Options
from local.state import Stack
from tests.local.conftest import FAKE_STACK, Run, are_gone, await_true, events, pids

pytestmark = pytest.mark.timeout(60)


def kill(running: Stack, name: str) -> int:
    """Kill a part without warning."""
    pid = running.parts[name].pid
    assert pid
    os.kill(pid, signal.SIGKILL)
    return pid


@pytest.mark.requirement("LOCAL-004", "LOCAL-008", "SC-1.3")
def test_nothing_starts_before_what_it_needs_is_healthy(fakes: Stack) -> None:
    parts = [fakes.parts[name] for name in ("valkey", "relay", "worker")]
    moments = [moment for part in parts for moment in (part.started_at, part.ready_at) if moment]
    assert len(moments) == 2 * len(parts)
    assert moments == sorted(moments)


@pytest.mark.requirement("LOCAL-005")
def test_a_killed_door_comes_back(fakes: Stack) -> None:
    killed = kill(fakes, "relay")
    after = stack.wait_for(
        fakes.state_dir, lambda now: now.parts["relay"].restarts == 1 and now.parts["relay"].state == "healthy"
    )
    assert after.parts["relay"].pid != killed
    assert after.parts["worker"] == fakes.parts["worker"]


@pytest.mark.requirement("LOCAL-005")
def test_a_door_that_keeps_failing_waits_longer_and_longer_and_says_why(fakes: Stack) -> None:
    broken = fakes.state_dir / "fake/relay.broken"
    broken.touch()
    kill(fakes, "relay")
    seen = stack.wait_for(fakes.state_dir, lambda now: now.parts["relay"].restarts == 3)
    assert (seen.parts["relay"].state, seen.parts["relay"].reason) == ("backoff", "ended with exit code 3")
    starts = [event["at"] for event in events(fakes.state_dir) if event["name"] == "relay"]
    assert starts[2] - starts[1] >= 0.5, "the second wait is at least half a second"
    broken.unlink()
    stack.wait_for(fakes.state_dir, lambda now: now.parts["relay"].state == "healthy")


@pytest.mark.requirement("LOCAL-003", "LOCAL-005")
def test_a_door_that_fails_its_health_check_is_restarted(fakes: Stack) -> None:
    (fakes.state_dir / "fake/worker.sick").touch()
    seen = stack.wait_for(fakes.state_dir, lambda now: now.parts["worker"].state == "unhealthy")
    assert seen.parts["worker"].reason == "GET /readyz: HTTP/1.0 503 Service Unavailable"
    stack.wait_for(
        fakes.state_dir, lambda now: now.parts["worker"].restarts == 1 and now.parts["worker"].state == "healthy"
    )
    assert [event["event"] for event in events(fakes.state_dir) if event["name"] == "worker"] == [
        "started",
        "stopped",
        "started",
    ]


def test_kill_9_of_the_supervisor_leaves_no_orphan_and_the_next_start_works(options: Options) -> None:
    supervisor = stack.launch(options, FAKE_STACK)
    first = stack.await_ready(supervisor, options.state)
    processes = pids(first)
    assert len(processes) == 3
    supervisor.kill()
    supervisor.wait()
    await_true(lambda: are_gone(processes))
    with stack.running(options, FAKE_STACK) as second:
        assert second.ports == first.ports


def test_processes_left_by_a_killed_supervisor_are_ended_before_the_next_start(options: Options) -> None:
    supervisor = stack.launch(options, FAKE_STACK)
    first = stack.await_ready(supervisor, options.state)
    # A stopped process cannot follow the kernel's SIGTERM: as one that hangs.
    hanging = first.parts["valkey"].pid
    assert hanging
    os.kill(hanging, signal.SIGSTOP)
    supervisor.kill()
    supervisor.wait()
    with stack.running(options, FAKE_STACK):
        assert are_gone([hanging])


def test_a_stack_that_follows_its_parent_ends_with_it(options: Options) -> None:
    code = (
        "import sys; from local import stack; from local.arguments import parse, options;"
        f"stack.start(options(parse(['up', *sys.argv[1:]])), {FAKE_STACK!r}); sys.stdin.read()"
    )
    command = [settings.python(), "-W", "ignore", "-c", code, *options.command_line()]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as parent:
        running = stack.wait_for(options.state, lambda now: now.phase == "running")
        parent.kill()
    await_true(lambda: are_gone([running.pid, *pids(running)]))
    assert lock.holder(options.state) is None


@pytest.mark.parametrize("how", [(), ("--detach",)])
def test_a_second_start_is_refused_and_says_how_to_see_the_first(
    fakes: Stack, local: Run, how: tuple[str, ...]
) -> None:
    refused = local("up", *how, "--state", str(fakes.state_dir))
    assert refused.returncode == 1
    assert refused.stderr == (
        f"error: the stack in {fakes.state_dir} already runs (pid {fakes.pid}); `python -m local status` shows it, "
        "`python -m local down` stops it\n"
    )
    assert stack.is_up(fakes.state_dir)


def test_a_part_that_cannot_start_is_reported_with_its_last_words(options: Options) -> None:
    (options.state / "fake").mkdir()
    (options.state / "fake/relay.broken").touch()
    with pytest.raises(stack.NotStarted) as report:
        stack.start(options, FAKE_STACK)
    assert "relay could not start: ended with exit code 3" in str(report.value)
    assert str(options.state / "log/relay.log") in str(report.value)
    assert "looking for the flux capacitor\n    there is none" in str(report.value)
    ended = stack.describe(options.state)
    assert (ended.phase, ended.parts["relay"].state, ended.parts["worker"].state) == ("failed", "failed", "waiting")
    assert not stack.is_up(options.state)
    assert pids(ended) == []


def test_the_stack_stops_in_reverse_order(options: Options) -> None:
    with stack.running(options, FAKE_STACK) as running:
        processes = pids(running)
    stopped = [event["name"] for event in events(options.state) if event["event"] == "stopped"]
    assert stopped == ["worker", "relay"]
    assert are_gone(processes)
    ended = stack.describe(options.state)
    assert ended.phase == "stopped"
    assert {part.state for part in ended.parts.values()} == {"stopped"}


@pytest.mark.requirement("LOCAL-006")
def test_a_changed_env_file_takes_effect_at_the_next_restart(fakes: Stack) -> None:
    def levels() -> list[str]:
        return [event["environment"]["LOG_LEVEL"] for event in events(fakes.state_dir) if event["name"] == "relay"]

    assert levels() == ["INFO"]
    (fakes.state_dir / ".env").write_text("LOG_LEVEL=DEBUG\nHEALTH_PORT=1\nRELAY_STARTTLS_PORT=1\n")
    kill(fakes, "relay")
    stack.wait_for(
        fakes.state_dir, lambda now: now.parts["relay"].restarts == 1 and now.parts["relay"].state == "healthy"
    )
    assert levels() == ["INFO", "DEBUG"]


@pytest.mark.requirement("LOCAL-002")
def test_changed_sources_restart_only_the_doors_that_use_them(options: Options) -> None:
    sources = options.state / "sources"
    sources.mkdir()
    with stack.running(options, FAKE_STACK) as running:
        (sources / "notes.txt").write_text("not a source")
        (sources / "changed.py").write_text("ANSWER = 42\n")
        after = stack.wait_for(
            options.state, lambda now: now.parts["relay"].restarts == 1 and now.parts["relay"].state == "healthy"
        )
        assert after.parts["worker"] == running.parts["worker"]
        (sources / "changed.py").write_text("ANSWER = 43\n")
        stack.wait_for(options.state, lambda now: now.parts["relay"].restarts == 2)


def test_children_see_a_clean_environment_and_no_secret(options: Options, local: Run) -> None:
    environment = {"PATH": "/usr/bin:/bin", "AWS_SECRET_ACCESS_KEY": "real", "AWS_PROFILE": "prod", "PGPASSWORD": "x"}
    started = local(
        "up", *replace(options, follow_parent=False).command_line(), "--detach", program=FAKE_STACK, env=environment
    )
    assert started.returncode == 0, started.stderr
    try:
        seen = events(options.state)[0]["environment"]
        assert not seen.keys() & {"AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "PGPASSWORD"}
        password = (options.state / "secrets/aws-credentials").read_text().split()[-1]
        assert password not in seen.values()
        assert seen["DATABASE_URL"].count(":") == 2
    finally:
        stack.stop(options.state)


def test_the_commands_show_and_stop_it(options: Options, local: Run, tmp_path: Path) -> None:
    folder = ("--state", str(tmp_path))
    assert "never started" in local("status", *folder).stderr
    started = local("up", "--detach", *replace(options, follow_parent=False).command_line(), program=FAKE_STACK)
    assert started.returncode == 0, started.stderr
    ports = stack.describe(tmp_path).ports
    assert f"localhost:{ports['RELAY_STARTTLS_PORT']}" in started.stdout
    assert f"http://127.0.0.1:{ports['worker-health']}/readyz" in started.stdout
    shown = local("status", *folder)
    assert shown.returncode == 0
    assert [line.split()[:2] for line in shown.stdout.splitlines()[2:]] == [
        ["valkey", "healthy"],
        ["relay", "healthy"],
        ["worker", "healthy"],
    ]
    assert '"up": true' in local("status", "--json", *folder).stdout
    assert "Ready to accept connections" in local("logs", "valkey", *folder).stdout
    assert "supervisor   | " in local("logs", "-n", "3", *folder).stdout
    assert "there are: " in local("logs", "nobody", *folder).stdout
    assert local("down", *folder).stdout == "stopped\n"
    assert local("down", *folder).stdout == "nothing runs\n"
    after = local("status", *folder)
    assert (after.returncode, after.stdout.splitlines()[0]) == (3, f"{tmp_path}: stopped")


def test_ctrl_c_stops_a_stack_in_the_foreground(options: Options) -> None:
    supervisor = stack.launch(options, FAKE_STACK)
    running = stack.await_ready(supervisor, options.state)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(20) == 0
    assert are_gone(pids(running))


def test_status_of_a_killed_stack_does_not_claim_that_it_runs(options: Options, local: Run) -> None:
    supervisor = stack.launch(options, FAKE_STACK)
    stack.await_ready(supervisor, options.state)
    supervisor.kill()
    supervisor.wait()
    shown = local("status", "--state", str(options.state))
    assert shown.returncode == 3
    assert shown.stdout.startswith(f"{options.state}: killed")
    assert "healthy" not in shown.stdout
