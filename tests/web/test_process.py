"""`python -m web.api` and `python -m web.console` as processes: their exit statuses, and their ends (SC-10.2)."""

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from backing.health import version
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


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("module", ["web.api", "web.console"])
def test_requests_may_come_over_tls(module: str, chosen: Chosen, moto_url: str, tmp_path: Path) -> None:
    settings, log = chosen(), tmp_path / "log"
    env, health = configured(settings, moto_url, WEB_TLS="true", WEB_GRACE_SECONDS="1")
    port, found = settings.web_port, dict[str, object]()
    with started(module, env, log) as process:
        wait_until(lambda: status(health, "/readyz") == 200, 30, "it did not get ready")
        # As the balancer does, which checks no certificate.
        trusting = ssl._create_unverified_context()  # noqa: SLF001, S323 - there is nothing to check it by
        for name, version in (("new", ssl.TLSVersion.TLSv1_3), ("old", ssl.TLSVersion.TLSv1_2)):
            trusting.minimum_version = trusting.maximum_version = version
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                trusting.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
            ):
                secure.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n")
                found[name] = (secure.version(), secure.recv(65_536).split(b"\r\n")[0])
        assert found == {"new": ("TLSv1.3", b"HTTP/1.1 200 OK"), "old": ("TLSv1.2", b"HTTP/1.1 200 OK")}
        assert status(port, "/readyz") == 0, "it speaks without TLS as well"
        with socket.create_connection(("127.0.0.1", port)) as plain, trusting.wrap_socket(plain) as slow:
            slow.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: status(health, "/readyz") == 503, 10, "it does not say that it drains")
            slow.sendall(b"\r\n")
            assert b"connection: close" in slow.recv(65_536).lower()
        # TLS ends when both sides have said so, or after 30 seconds.
        assert process.wait(20) == 0


@pytest.mark.requirement("CORE-OPS-002")
@pytest.mark.requirement("CORE-OPS-001")
@pytest.mark.parametrize("module", ["web.api", "web.console"])
def test_new_settings_are_taken_while_it_serves(module: str, chosen: Chosen, moto_url: str, tmp_path: Path) -> None:
    chosen_ones, log, file = chosen(), tmp_path / "log", tmp_path / "settings"
    port = chosen_ones.web_port
    file.write_text("WEB_MAX_BYTES_IN_FLIGHT=16777216\n")
    env, _ = configured(chosen_ones, moto_url, SETTINGS_FILE=str(file))

    def told(event: str) -> list[dict[str, Any]]:
        lines = map(json.loads, log.read_text().splitlines())
        return [line for line in lines if line["event"] == event and line.get("path") != "/readyz"]

    with started(module, env, log) as process:
        wait_until(lambda: status(port, "/readyz") == 200, 30, "it did not get ready")
        assert (status(port, "/version"), status(port, "/nothing")) == (200, 404)
        wait_until(lambda: len(told("request")) == 2, 10, "there is no line for each")
        file.write_text("WEB_LOG_SAMPLE=2\nWEB_RATE_PER_MINUTE=0\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: told("settings not reloaded"), 10, "it says nothing")
        (refused,) = told("settings not reloaded")
        assert [line.partition(":")[0] for line in refused["reason"].splitlines()] == [
            "WEB_RATE_PER_MINUTE",
            "WEB_LOG_SAMPLE",
        ]
        file.write_text("WEB_LOG_SAMPLE=0\nWEB_MAX_BODY_BYTES=65536\nWEB_HOSTNAME=mail.example.com\n")
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: told("settings reloaded"), 10, "it says nothing")
        (taken,) = told("settings reloaded")
        assert (taken["taken"], taken["needs_a_restart"]) == (
            ["WEB_LOG_SAMPLE", "WEB_MAX_BODY_BYTES", "WEB_MAX_BYTES_IN_FLIGHT"],
            ["WEB_HOSTNAME"],
        )
        # What reads and goes well has a line no more; what fails has.
        assert [status(port, "/version") for _ in range(20)] == [200] * 20
        assert status(port, "/nothing") == 404
        wait_until(lambda: len(told("request")) == 3, 10, "what fails has no line")
        assert [(line["path"], line["status"]) for line in told("request")] == [
            ("/version", 200),
            ("/nothing", 404),
            ("/nothing", 404),
        ]
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


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
        # What it answers to depends on the whole of its body.
        head = (
            f"POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
            "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{"
        )
        with socket.create_connection(("127.0.0.1", port)) as slow:
            slow.sendall(head.encode())
            # It is inside when it is counted there.
            wait_until(lambda: b"web_requests_in_flight 1.0" in metrics(int(env["HEALTH_PORT"])), 10, "not begun")
            process.send_signal(signal.SIGTERM)
            wait_until(lambda: status(port, "/livez") == 0, 10, "the listener is still open")
            assert process.poll() is None
            slow.sendall(b"}")
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
                f"POST /api/v1/accounts HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
                "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{".encode()
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
    with started("web.api", env, tmp_path / "log") as process:
        wait_until(lambda: status(settings.web_port, "/livez") == 200, 30, "it does not live")
        assert status(settings.web_port, "/readyz") == 503
        subprocess.run([*backing, "up"], env=owner, cwd=ROOT, check=True, capture_output=True)
        wait_until(lambda: status(settings.web_port, "/readyz") == 200, 10, "it did not get ready")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    assert events(tmp_path / "log").count("not ready yet") == 1


def document(port: int, path: str) -> Any:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return json.load(answer)


@contextmanager
def shut(url: str) -> Iterator[None]:
    """A database that ends all sessions and lets nobody in."""
    server, _, name = url.rpartition("/")
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())


@pytest.mark.requirement("CORE-API-006")
@pytest.mark.parametrize("module", ["web.api", "web.console"])
def test_readiness_tells_of_the_pool_of_connections(module: str, chosen: Chosen, moto_url: str, tmp_path: Path) -> None:
    settings = chosen()
    env, health = configured(settings, moto_url, DATABASE_POOL_MIN="1", DATABASE_POOL_MAX="3")
    with started(module, env, tmp_path / "log"):
        wait_until(lambda: status(health, "/readyz") == 200, 30, "it did not get ready")
        ready = {"status": "ready", "version": version()}
        assert document(health, "/livez") == {"status": "alive", "version": version()}
        # What the public may know is short.
        assert document(settings.web_port, "/readyz") == ready
        told = document(health, "/readyz")
        pool = told.pop("pool")
        assert told == ready
        assert pool.keys() == {"size", "max", "available", "waiting"}
        assert (pool["max"], pool["waiting"]) == (3, 0)
        assert 1 <= pool["size"] <= 3
        assert 0 <= pool["available"] <= pool["size"]
        shown = metrics(health).decode()
        assert "database_pool_max_connections 3.0" in shown
        assert "database_pool_waiting 0.0" in shown


@pytest.mark.requirement("CORE-API-006")
def test_readiness_is_not_decided_by_the_database(
    chosen: Chosen, database_url: str, moto_url: str, tmp_path: Path
) -> None:
    settings = chosen()
    env, health = configured(settings, moto_url, DATABASE_ACQUIRE_TIMEOUT_SECONDS="1")
    key = made_key(env)

    def listed() -> int:
        address = f"http://127.0.0.1:{settings.web_port}/api/v1/rules?account=shop"
        asked = urllib.request.Request(address, headers={"Authorization": f"Bearer {key}"})
        try:
            with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - loopback
                return int(answer.status)
        except urllib.error.HTTPError as refused:
            refused.close()
            return refused.code

    with started("web.api", env, tmp_path / "log"):
        wait_until(lambda: status(health, "/readyz") == 200, 30, "it did not get ready")
        wait_until(lambda: listed() in {200, 404}, 30, "it does not work")
        with shut(database_url):
            wait_until(lambda: listed() == 503, 30, "it does not notice")
            assert [status(port, "/readyz") for port in (settings.web_port, health)] == [200, 200]
            assert document(health, "/readyz")["pool"]["available"] == 0
        wait_until(lambda: listed() in {200, 404}, 30, "it does not work again")


def test_a_database_that_is_away_is_waited_for(chosen: Chosen, moto_url: str, tmp_path: Path) -> None:
    settings, log = chosen(), tmp_path / "log"
    env, health = configured(settings, moto_url, DATABASE_URL=f"postgresql://web@127.0.0.1:{free_port()}/none")
    with started("web.api", env | {"DATABASE_ACQUIRE_TIMEOUT_SECONDS": "0.2"}, log) as process:
        wait_until(lambda: log.exists() and "not ready yet" in log.read_text(), 30, "it does not say why it waits")
        assert [status(port, "/readyz") for port in (settings.web_port, health)] == [503, 503]
        assert status(settings.web_port, "/livez") == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    (told,) = [json.loads(line) for line in log.read_text().splitlines() if "not ready yet" in line]
    assert told["reason"].startswith("PostgreSQL: PoolTimeout")


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
