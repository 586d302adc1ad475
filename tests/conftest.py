"""Real parts for every test: AWS APIs and PostgreSQL, served on loopback."""

import functools
import gc
import itertools
import os
import random
import socket
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
import trustme
from botocore.loaders import JSONFileLoader, Loader
from moto.server import ThreadedMotoServer

from local import postgres
from tests.postgres import Postgres, postgres_server
from tests.valkey import Valkey, valkey
from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
REGION = "eu-central-1"
# In CI nothing is skipped for want of a part: the project's own set-up has to provide it.
IN_CI = os.environ.get("CI") == "true"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest: those that say so, then those with the most tests."""
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: (item.get_closest_marker("long") is None, -tests[item.path]))


# Below what systems hand out to clients (32768 on Linux, 49152 elsewhere), or a connection of another test takes a port
# between its choice and the start of the server it was chosen for. Each process of the tests has a lane of its own.
_LANE = 2_000
_lane = 20_000 + _LANE * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 6)
_ports = itertools.cycle(random.SystemRandom().sample(range(_lane, _lane + _LANE), _LANE))


def free_port() -> int:
    for port in _ports:
        with socket.socket() as probe:
            # As servers do, or ports that closed a minute ago would count as taken.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("itertools.cycle has no end")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module", autouse=True)
def short_collections() -> Iterator[None]:
    """Let the collector look at what a module leaves behind once only.

    After some thousand tests a full collection would take longer than a call of the cache may.
    """
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def aws_identity(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Throw-away credentials; without them the SDK would look for real ones."""
    credentials = tmp_path_factory.mktemp("aws") / "credentials"
    credentials.write_text("[default]\naws_access_key_id = test\naws_secret_access_key = test\n")
    os.environ["AWS_SHARED_CREDENTIALS_FILE"] = str(credentials)
    os.environ["AWS_CONFIG_FILE"] = str(credentials.with_name("config"))
    # Nothing here speaks TLS with AWS; each client would read all authorities of the world for it.
    authority = credentials.with_name("authority.pem")
    trustme.CA().cert_pem.write_to_path(str(authority))
    os.environ["AWS_CA_BUNDLE"] = str(authority)
    os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
    os.environ["AWS_DEFAULT_REGION"] = REGION


class ReadOnce(JSONFileLoader):
    """Reads each of botocore's models once a process: a session reads its own, and most tests have several sessions."""

    @staticmethod
    @functools.cache
    def exists(file_path: str) -> bool:
        return bool(JSONFileLoader().exists(file_path))

    @staticmethod
    @functools.cache
    def load_file(file_path: str) -> Any:
        return JSONFileLoader().load_file(file_path)


@pytest.fixture(scope="session", autouse=True)
def aws_models() -> None:
    Loader.FILE_LOADER_CLASS = ReadOnce


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
    with postgres_server(tmp_path_factory.mktemp("postgres"), free_port()) as server:
        os.environ["PGPASSFILE"] = str(server.password_file)
        yield server.url


@pytest.fixture
def own_postgres(tmp_path: Path) -> Iterator[Postgres]:
    """A PostgreSQL server of this test's own, to stop and start."""
    with postgres_server(tmp_path, free_port()) as server:
        yield server


_numbers = itertools.count()


@contextmanager
def database(postgres_url: str, template: str = postgres.DATABASE) -> Iterator[str]:
    """A migrated database of somebody's own; the password comes from PGPASSFILE."""
    name = f"test_{next(_numbers)}"
    with psycopg.connect(f"{postgres_url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY".encode())
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
