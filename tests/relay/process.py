"""`python -m relay` as a process of its own, and the mail that tests send through it."""

import json
import secrets
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import IO

from tests.waiting import wait_until

ROOT = Path(__file__).parents[2]
HTTP = urllib.request.build_opener(urllib.request.ProxyHandler({}))
KEY = secrets.token_bytes(32)


@dataclass
class Process:
    """A relay in a process of its own."""

    child: subprocess.Popen[str]
    log: Path
    starttls: int
    tls: int
    health: str

    def ready(self) -> int:
        try:
            with HTTP.open(f"{self.health}/readyz", timeout=2) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def stop(self) -> tuple[int, list[dict[str, object]]]:
        """End it as ECS does; its exit code and what it logged."""
        self.child.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> tuple[int, list[dict[str, object]]]:
        """Wait for the end of one that was told to stop."""
        self.child.wait(20)
        return self.child.returncode, [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]


def start(environment: dict[str, str], output: int | IO[str] = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "relay"]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=subprocess.PIPE, text=True)


@contextmanager
def running(environment: dict[str, str]) -> Iterator[Process]:
    # A file, since a pipe that nobody reads would stop a relay that has much to log.
    with tempfile.NamedTemporaryFile("w") as log:
        child = start(environment, log.file)
        process = Process(
            child,
            Path(log.name),
            int(environment["RELAY_STARTTLS_PORT"]),
            int(environment["RELAY_TLS_PORT"]),
            f"http://127.0.0.1:{environment['HEALTH_PORT']}",
        )
        try:
            wait_until(lambda: process.ready() == 200 or child.poll() is not None, 30, "the relay did not get ready")
            assert child.poll() is None, child.communicate()
            yield process
        finally:
            child.kill()
            child.wait()
            if child.stderr:
                child.stderr.close()


def message(size: int = 100) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = "me@example.com", "you@example.net", "Hello"
    mail["Message-ID"] = f"<{uuid.uuid1()}@example.com>"
    mail.set_content(("x" * 70 + "\n") * (size // 71 + 1))
    return mail
