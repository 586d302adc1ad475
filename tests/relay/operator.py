"""Relays of one fleet as processes of their own, and the operator's command that changes what they know."""

import signal
import smtplib
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.relay.house import SECRET
from tests.relay.process import HTTP, ROOT, Process
from tests.valkey import Valkey
from tests.waiting import wait_until

# Nobody keeps a copy of this.
NOTICE = """PUBLISH smtp-proxy:changes '{"kind":"credential","subject":"nobody"}'"""


@dataclass(frozen=True)
class Fleet:
    """Relays on one database and one cache, and how they are talked to."""

    relays: tuple[Process, ...]
    environment: dict[str, str]
    cache: Valkey
    settings: Path
    trust: ssl.SSLContext

    def operator(self, *words: str, said: str = "") -> str:
        """Give what the operator's command says when it does as it is told."""
        command = [sys.executable, "-m", "backing", *words]
        run = subprocess.run(
            command, cwd=ROOT, env=self.environment, input=said, capture_output=True, text=True, timeout=30, check=False
        )
        assert (run.returncode, run.stderr) == (0, ""), run.stdout + run.stderr
        return run.stdout

    @contextmanager
    def listening(self, output: Path, *words: str) -> "Iterator[subprocess.Popen[str]]":
        """Run the operator's `transcript`; what it prints is in a file."""
        command = [sys.executable, "-m", "backing", "transcript", *words]
        with (
            output.open("w") as file,
            subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=file, stderr=subprocess.PIPE, text=True
            ) as child,
        ):
            try:
                yield child
            finally:
                child.kill()

    @contextmanager
    def client(
        self, number: int, username: str = "", secret: str = SECRET, *, trust: ssl.SSLContext | None = None
    ) -> Iterator[smtplib.SMTP_SSL]:
        """A session at one of the relays, signed in where a name is given."""
        context = trust or self.trust
        connection = smtplib.SMTP_SSL("localhost", self.relays[number].tls, timeout=10, context=context)
        try:
            connection.ehlo()
            if username:
                connection.login(username, secret)
            yield connection
        finally:
            connection.close()

    def shown(self, number: int) -> str:
        """The metrics of a relay."""
        with HTTP.open(f"{self.relays[number].health}/metrics", timeout=5) as answer:
            text: str = answer.read().decode()
        return text

    def settle(self) -> None:
        """Wait until all relays know the cache and hear notices."""
        everyone = f":{len(self.relays)}"
        wait_until(lambda: self.cache.say(NOTICE) == everyone, 20, "a relay hears no notices")
        for number in range(len(self.relays)):
            wait_until(partial(self.knows, number, 1), 40, "a relay does not find the cache")

    def knows(self, number: int, cache_up: float) -> bool:
        """Whether this is what a relay knows of the cache."""
        return value(self.shown(number), "relay_cache_up") == cache_up

    def reload(self, number: int, settings: str) -> None:
        """Change the file of settings and have a relay read it."""
        self.settings.write_text(settings)
        count = self.reloads(number)
        self.relays[number].child.send_signal(signal.SIGHUP)
        wait_until(lambda: self.reloads(number) > count, 5, "not reloaded")

    def reloads(self, number: int) -> float:
        """How often a relay has taken new settings."""
        return value(self.shown(number), 'relay_reloads_total{result="taken"}')


def value(metrics: str, name: str) -> float:
    """Give a value out of the text of metrics; 0 where it is not shown."""
    found = (line.rpartition(" ") for line in metrics.splitlines())
    return next((float(number) for shown, _, number in found if shown == name), 0.0)
