"""`python -m web.api` and `python -m web.console` as processes: their exit statuses, and their ends (SC-10.2)."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.conftest import free_port
from tests.waiting import wait_until
from tests.web.conftest import Chosen
from tests.web.house import environment
from web.settings import WebSettings

ROOT = Path(__file__).parents[2]


@contextmanager
def started(module: str, env: dict[str, str], log: Path) -> Iterator["subprocess.Popen[str]"]:
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", module], env=env, cwd=ROOT, stdout=output, stderr=subprocess.PIPE, text=True
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def status(port: int, path: str) -> int:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        refused.close()
        return refused.code
    except OSError:
        return 0


def events(log: Path) -> list[str]:
    return [json.loads(line)["event"] for line in log.read_text().splitlines()]


def configured(chosen: WebSettings, endpoint: str, **changes: str) -> tuple[dict[str, str], int]:
    health = free_port()
    return environment(chosen, endpoint) | {"HEALTH_PORT": str(health), **changes}, health


@pytest.mark.parametrize("module", ["web.api", "web.console"])
def test_a_wrong_environment_is_told_line_by_line(module: str) -> None:
    env = {"PATH": os.environ["PATH"], "WEB_MAX_BODY_BYTES": "0"}  # noqa: TID251
    ended = subprocess.run(
        [sys.executable, "-m", module], env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout) == (78, "")
    assert [line.partition(":")[0] for line in ended.stderr.splitlines()] == [
        "DATABASE_URL",
        "QUEUE_URL",
        "BODY_BUCKET",
        "WEB_MAX_BODY_BYTES",
    ]


def test_a_port_that_is_taken_is_told(chosen: Chosen, moto_url: str, tmp_path: Path) -> None:
    settings = chosen()
    with socket.create_server(("127.0.0.1", settings.web_port)):
        env, _ = configured(settings, moto_url)
        with started("web.api", env, tmp_path / "log") as process:
            assert (process.wait(30), "Address already in use" in (process.stderr or sys.stdin).read()) == (69, True)


@pytest.mark.requirement("SC-10.2")
@pytest.mark.parametrize("module", ["web.api", "web.console"])
def test_what_has_come_is_answered_and_then_it_ends(module: str, chosen: Chosen, moto_url: str, tmp_path: Path) -> None:
    settings, log = chosen(), tmp_path / "log"
    env, health = configured(settings, moto_url, WEB_GRACE_SECONDS="1")
    port = settings.web_port
    path = b"/sign-in" if module == "web.console" else b"/livez"
    with started(module, env, log) as process:
        wait_until(lambda: status(port, "/readyz") == 200, 30, "it did not get ready")
        assert [status(health, each) for each in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
        with (
            socket.create_connection(("127.0.0.1", port)) as slow,
            socket.create_connection(("127.0.0.1", port)) as idle,
        ):
            request = b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n"
            idle.sendall(request)
            assert b"connection: close" not in idle.recv(65_536).lower()
            slow.sendall(request[:-2])
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: status(port, "/readyz") == 503, 10, "it does not say that it drains")
            assert status(health, "/readyz") == 503
            assert status(port, "/livez") == 200
            slow.sendall(b"\r\n")
            answer = slow.recv(65_536)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"connection: close" in answer.lower()
            assert process.wait(20) == 0
    assert status(port, "/livez") == 0
    assert [event for event in events(log) if event != "request"] == ["starting", "serving", "stopping", "stopped"]


@pytest.mark.requirement("SC-10.2")
def test_a_request_under_way_is_finished_after_the_listener_has_closed(
    chosen: Chosen, moto_url: str, tmp_path: Path
) -> None:
    settings, log = chosen(), tmp_path / "log"
    env, _ = configured(settings, moto_url)
    key = made_key(env)
    with started("web.api", env, log) as process:
        port = settings.web_port
        wait_until(lambda: status(port, "/readyz") == 200, 30, "it did not get ready")
        head = (
            f"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\na"
        )
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(head.encode())
            # It is inside when it is counted there.
            wait_until(lambda: b"web_requests_in_flight 1.0" in metrics(int(env["HEALTH_PORT"])), 10, "not begun")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: status(port, "/livez") == 0, 10, "the listener is still open")
            assert process.poll() is None
            slow.sendall(b"b")
            answer = slow.recv(65_536)
        assert answer.startswith(b"HTTP/1.1 422"), answer
        assert b"connection: close" in answer.lower()
        assert process.wait(20) == 0


@pytest.mark.requirement("SC-10.2")
def test_who_does_not_finish_is_cut_off_at_the_hard_end(chosen: Chosen, moto_url: str, tmp_path: Path) -> None:
    settings, log = chosen(), tmp_path / "log"
    env, _ = configured(settings, moto_url, WEB_DRAIN_SECONDS="1")
    key = made_key(env)
    with started("web.api", env, log) as process:
        wait_until(lambda: status(settings.web_port, "/readyz") == 200, 30, "it did not get ready")
        with socket.create_connection(("127.0.0.1", settings.web_port)) as slow:
            slow.sendall(
                f"POST /api/v1/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                "Content-Length: 2\r\n\r\na".encode()
            )
            wait_until(lambda: b"web_requests_in_flight 1.0" in metrics(int(env["HEALTH_PORT"])), 10, "not begun")
            told = time.monotonic()
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
            assert time.monotonic() - told < 15


def test_it_is_ready_when_the_schema_is(chosen: Chosen, database_url: str, moto_url: str, tmp_path: Path) -> None:
    settings = chosen()
    env, _ = configured(settings, moto_url)
    owner = env | {"DATABASE_URL": database_url}
    backing = [sys.executable, "-m", "backing", "migrate"]
    subprocess.run([*backing, "down", "0009"], env=owner, cwd=ROOT, check=True, capture_output=True)
    with started("web.api", env, tmp_path / "log"):
        wait_until(lambda: status(settings.web_port, "/livez") == 200, 30, "it does not live")
        assert status(settings.web_port, "/readyz") == 503
        subprocess.run([*backing, "up"], env=owner, cwd=ROOT, check=True, capture_output=True)
        wait_until(lambda: status(settings.web_port, "/readyz") == 200, 10, "it did not get ready")


def metrics(port: int) -> bytes:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        return bytes(answer.read())


def made_key(env: dict[str, str]) -> str:
    made = subprocess.run(
        [sys.executable, "-m", "backing", "key", "create", "ci", "--json"],
        env=env,
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return str(json.loads(made.stdout)["key"])
