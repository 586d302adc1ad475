"""A real Valkey server of a test's own, which may be killed and started again."""

import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from local.valkey import binary
from tests.waiting import wait_until


class Valkey:
    """A server on one port of loopback.

    Args:
        folder: its working directory.
        port: where it listens.
        options: further arguments.
    """

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self._folder = folder
        self._port = port
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start with nothing in it."""
        command = (binary(), "--bind", "127.0.0.1", "--port", str(self._port), "--save", "")
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (*command, *self._options), cwd=self._folder, stdout=log, stderr=subprocess.STDOUT
            )
        wait_until(lambda: self.say("PING") == "+PONG", 10, f"Valkey did not start: {self._folder / 'log'}")

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    stop = kill

    def say(self, *lines: str) -> str:
        """Give the first line of its last answer to some inline commands; empty if it does not listen."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), 2) as peer:
                answer = ""
                for line in lines:
                    peer.sendall(line.encode() + b"\r\n")
                    answer = peer.recv(4096).decode()
        except OSError:
            return ""
        return answer.partition("\r\n")[0]

    def make_cluster(self) -> None:
        """Make a server started with --cluster-enabled a cluster of one; one that starts again still is."""
        assert self.say("CLUSTER ADDSLOTSRANGE 0 16383") in {"+OK", "-ERR Slot 0 is already busy"}
        wait_until(lambda: self.say("SET a b") == "+OK", 10, "the cluster of one is not ready")


@contextmanager
def valkey(folder: Path, port: int, *options: str) -> Iterator[Valkey]:
    """Run a server until the block ends."""
    server = Valkey(folder, port, *options)
    try:
        server.start()
        yield server
    finally:
        server.kill()
