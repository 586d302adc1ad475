"""Real parts for every test: AWS APIs served on loopback."""

import os
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer

from tests.waiting import wait_until

ROOT = Path(__file__).parents[1]
REGION = "eu-central-1"


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
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "IOT_MTLS_ENABLED": "0", "GATEWAY_PORT": str(port)},
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
