"""The life of `python -m relay`: settings taken while it runs, protection, the last words, and an end in time."""

import json
import signal
import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.relay.house import SECRET, USER, Files
from tests.relay.process import HTTP, Process, message, running
from tests.waiting import wait_until


def logged(process: Process, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.log.read_text("utf-8").splitlines()]
    return [line for line in lines if line.get("event") == event]


@contextmanager
def agent() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An ECS agent that grants everything, and what it was asked."""
    asked: list[dict[str, Any]] = []

    class Answer(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            assert self.path == "/api/1/task-protection/v1/state"
            asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            body = json.dumps({"protection": {"ProtectionEnabled": asked[-1]["ProtectionEnabled"]}}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/api/1", asked
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def client(process: Process, files: Files) -> Iterator[smtplib.SMTP_SSL]:
    connection = smtplib.SMTP_SSL("localhost", process.tls, timeout=10, context=files.trust())
    try:
        connection.ehlo()
        yield connection
    finally:
        connection.close()


def size_now(session: smtplib.SMTP) -> str:
    session.ehlo()
    return session.esmtp_features["size"]


@pytest.mark.requirement("CORE-OPS-002")
def test_a_signal_reloads_the_file_of_settings(environment: dict[str, str], files: Files, tmp_path: Path) -> None:
    file = tmp_path / "settings.env"
    file.write_text("RELAY_MAX_MESSAGE_BYTES=100000\n")
    with running(environment | {"SETTINGS_FILE": str(file)}) as process, client(process, files) as session:
        assert session.esmtp_features["size"] == "100000"
        file.write_text("RELAY_MAX_MESSAGE_BYTES=1\nRELAY_HOSTNAME=x\n")
        process.child.send_signal(signal.SIGHUP)
        wait_until(lambda: logged(process, "settings not reloaded"), 5, "no complaint")
        (complaint,) = logged(process, "settings not reloaded")
        assert complaint["reason"].startswith("RELAY_MAX_MESSAGE_BYTES: Input should be greater than or equal to 65536")
        session.ehlo()
        assert session.esmtp_features["size"] == "100000"

        file.write_text("RELAY_MAX_MESSAGE_BYTES=200000\nRELAY_HOSTNAME=x\nLOG_LEVEL=WARNING\n")
        process.child.send_signal(signal.SIGHUP)
        wait_until(lambda: size_now(session) == "200000", 5, "not reloaded")
        file.write_text("RELAY_MAX_MESSAGE_BYTES=300000\nRELAY_HOSTNAME=x\n")
        process.child.send_signal(signal.SIGHUP)
        wait_until(lambda: logged(process, "settings reloaded"), 5, "not reloaded")
        # The first reload raised the level before it could be told; the second put it back.
        (told,) = logged(process, "settings reloaded")
        assert (told["taken"], told["needs_a_restart"]) == (
            ["LOG_LEVEL", "RELAY_MAX_MESSAGE_BYTES"],
            ["RELAY_HOSTNAME"],
        )
        code, _ = process.stop()
    assert code == 0


@pytest.mark.requirement("SCALE-010")
@pytest.mark.requirement("CORE-OPS-003")
def test_it_is_protected_while_somebody_is_there_and_its_metrics_reach_the_log(
    with_account: dict[str, str], files: Files
) -> None:
    with agent() as (url, asked):
        settings = {
            "ECS_AGENT_URI": url,
            "METRICS_EMF_SECONDS": "0.2",
            "METRICS_NAMESPACE": "SmtpProxy/prod",
            "RELAY_IDLE_DRAIN_SECONDS": "0",
        }
        with running(with_account | settings) as process, client(process, files) as session:
            session.login(USER, SECRET)
            assert session.send_message(message()) == {}
            wait_until(lambda: asked, 10, "not protected")
            assert asked == [{"ProtectionEnabled": True, "ExpiresInMinutes": 5}]
            with HTTP.open(f"{process.health}/metrics", timeout=5) as answer:
                shown = answer.read().decode()
            for metric in (
                "relay_task_protected 1.0",
                'database_pool_connections{state="idle"}',
                "relay_queue_depth ",
            ):
                assert metric in shown
            expiry = next(line for line in shown.splitlines() if line.startswith("relay_certificate_expiry_timestamp"))
            assert float(expiry.split()[1]) > time.time()
            code, lines = process.stop()
        assert (code, asked[1:]) == (0, [{"ProtectionEnabled": False}])
    documents = [line for line in lines if "_aws" in line]
    assert {line["service"] for line in documents} == {"relay"}
    roots: list[Any] = [line["_aws"] for line in documents]
    assert {each["Namespace"] for root in roots for each in root["CloudWatchMetrics"]} == {"SmtpProxy/prod"}
    accepted = [line.get("relay_messages_total", 0) for line in documents if line.get("result") == "accepted"]
    assert sum(map(float, map(str, accepted))) == 1
    stopped = lines[-1]
    assert stopped["event"] == "stopped"
    assert {name: stopped[name] for name in ("sessions", "accepted", "refused", "deferred", "cut")} == {
        "sessions": 1,
        "accepted": 1,
        "refused": 0,
        "deferred": 0,
        "cut": 0,
    }
    assert float(str(stopped["seconds"])) < 5


@pytest.mark.requirement("SC-10.1")
@pytest.mark.requirement("CORE-SMTP-009")
def test_a_commit_without_an_answer_is_not_acknowledged_and_does_not_hold_up_the_end(
    with_account: dict[str, str], files: Files
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = {
            "AWS_ENDPOINT_URL_SQS": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "RELAY_DRAIN_SECONDS": "0.5",
            "RELAY_IDLE_DRAIN_SECONDS": "0",
        }
        with running(with_account | settings) as process, client(process, files) as session:
            session.login(USER, SECRET)
            session.mail("me@example.com")
            session.rcpt("you@example.net")
            assert session.docmd("DATA")[0] == 354
            session.send(b"Subject: x\r\n\r\nx\r\n.\r\n")
            began = time.monotonic()
            code, lines = process.stop()
            # Grace 0.2 s, drain 0.5 s, last words 2 s, the way out 2 s more.
            assert time.monotonic() - began < 10
            assert session.getreply()[0] == 421
    assert code == 0
    assert (lines[-1]["event"], lines[-1]["accepted"], lines[-1]["cut"]) == ("stopped", 0, 1)
