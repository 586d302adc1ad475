"""Real parts for every test: AWS APIs and PostgreSQL, served on loopback."""

import itertools
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from moto.server import ThreadedMotoServer

from backing.postgres import migrate
from local import postgres
from local.places import Places
from tests.valkey import Valkey, valkey
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
REGION = "eu-central-1"
# In CI nothing is skipped for want of a part: the project's own set-up has to provide it.
IN_CI = os.environ.get("CI") == "true"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session", autouse=True)
def aws_identity(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Throw-away credentials; without them the SDK would look for real ones."""
    credentials = tmp_path_factory.mktemp("aws") / "credentials"
    credentials.write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials)
    os.environ["AWS_CONFIG_FILE"] = str(credentials.with_name("config"))
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_DEFAULT_REGION"] = REGION


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def ministack_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port, folder = free_port(), tmp_path_factory.mktemp("ministack")
    python = ROOT / ".local" / "emulator" / "bin" / "python"
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [python, "-m", "uvicorn", "ministack.app:app", "--host", "127.0.0.1", "--port", str(port)],
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "IOT_MTLS_ENABLED": "0"},
            cwd=folder,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            wait_until(lambda: answers(url), 30, f"ministack did not start: {folder / 'log'}")
            yield url
        finally:
            process.terminate()
            process.wait(20)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/_ministack/health", timeout=2):  # noqa: S310 - our own loopback server
            return True
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture(params=["moto", "ministack"])
def aws_url(request: pytest.FixtureRequest) -> str:
    """Each AWS server in turn: where they differ, one of them is wrong about AWS."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture(scope="session")
def postgres_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A PostgreSQL server with a migrated database to copy, as `postgresql://user@host:port`."""
    places, port = Places(tmp_path_factory.mktemp("postgres")), free_port()
    places.create()
    subprocess.run([sys.executable, "-m", "local.postgres", places.state, "--fast"], cwd=ROOT, check=True)
    os.environ["PGPASSFILE"] = str(places.pgpass)
    url = f"postgresql://{postgres.USER}@127.0.0.1:{port}"
    with (places.log / "postgres.log").open("wb") as log:
        command = postgres.here(places).server(port, fast=True)
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, cwd="/")
        try:
            wait_until(lambda: connects(f"{url}/postgres"), 30, f"PostgreSQL did not start: {log.name}")
            migrate.upgrade(migrate.Target(f"{url}/{postgres.DATABASE}"))
            yield url
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(30)


def connects(url: str) -> bool:
    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


_numbers = itertools.count()


@contextmanager
def database(postgres_url: str) -> Iterator[str]:
    """A migrated database of somebody's own; the password comes from PGPASSFILE."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(f"{postgres_url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {postgres.DATABASE} STRATEGY FILE_COPY".encode())
        yield f"{postgres_url}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database_url(postgres_url: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    with database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey server that all tests share; their keys must be their own."""
    with valkey(tmp_path_factory.mktemp("valkey"), free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def valkey_url(shared_valkey: Valkey) -> str:
    """A Valkey server that all tests share, as `redis://host:port`; their keys must be their own."""
    return shared_valkey.url


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey server of this test's own, to kill and start."""
    with valkey(tmp_path, free_port()) as server:
        yield server


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """A Valkey cluster of one node that all tests share; it takes its time to start."""
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with valkey(tmp_path_factory.mktemp("cluster"), free_port(), *options) as server:
        server.make_cluster()
        yield server
