"""A real PostgreSQL server of a test's own, which may be stopped and started again."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from backing.postgres import migrate
from local import postgres
from local.places import Places
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]


class Postgres:
    """A server on one port of loopback, with a migrated database.

    Args:
        folder: where its data lies.
        port: where it listens.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._places = Places(folder)
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._places.create()
        subprocess.run([sys.executable, "-m", "local.postgres", folder, "--fast"], cwd=ROOT, check=True)

    @property
    def password_file(self) -> Path:
        return self._places.pgpass

    @property
    def url(self) -> str:
        """Without a password, which stands in the file."""
        return f"postgresql://{postgres.USER}@127.0.0.1:{self._port}"

    @property
    def full_url(self) -> str:
        """Of the migrated database, with its password."""
        password = self.password_file.read_text().strip().rpartition(":")[2]
        return f"postgresql://{postgres.USER}:{password}@127.0.0.1:{self._port}/{postgres.DATABASE}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        log = self._places.log / "postgres.log"
        with log.open("ab") as output:
            command = postgres.here(self._places).server(self._port, fast=True)
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd="/")
        wait_until(self._answers, 30, f"PostgreSQL did not start: {log}")

    def sign_in_fast(self) -> None:
        """Let each connection hash once instead of 4,096 times, as is needed for passwords that people choose."""
        password = self.password_file.read_text().strip().rpartition(":")[2]
        with psycopg.connect(self.full_url, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET scram_iterations = 1")
            connection.execute("SELECT pg_reload_conf()")
            connection.execute("SET scram_iterations = 1")
            connection.execute(f"ALTER ROLE {postgres.USER} PASSWORD '{password}'".encode())

    def stop(self) -> None:
        """End its sessions, whatever they are at, and stop."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.full_url, connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True


@contextmanager
def postgres_server(folder: Path, port: int) -> Iterator[Postgres]:
    """Run a server until the block ends."""
    server = Postgres(folder, port)
    try:
        server.start()
        server.sign_in_fast()
        migrate.upgrade(migrate.Target(server.full_url))
        yield server
    finally:
        server.stop()
