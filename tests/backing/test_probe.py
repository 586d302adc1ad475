import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from backing import probe

BANNED = {"asyncio", "aiohttp", "pydantic", "boto3", "botocore", "urllib.request"}


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response({"/livez": 200, "/moved": 302}.get(self.path, 503))
        self.send_header("Location", "/livez")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Answers) as serving:
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{serving.server_port}"
        serving.shutdown()
        thread.join()


def test_only_200_is_well(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert [probe.main([f"{server}{path}"]) for path in ("/livez", "/readyz", "/moved")] == [0, 1, 1]
    assert capsys.readouterr().err == f"{server}/readyz: status 503\n{server}/moved: status 302\n"


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(["http://127.0.0.1:1/livez"]) == 1
    assert "ConnectionRefusedError" in capsys.readouterr().err


def test_who_takes_the_connection_and_says_nothing_is_not_well() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/livez"
        assert probe.probe(url, timeout_seconds=0.05) == f"{url}: TimeoutError: timed out"


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["127.0.0.1:8081"], ["https://127.0.0.1/livez"]])
def test_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert probe.main(arguments) == 2
    assert capsys.readouterr().err.startswith("usage: python -m backing.probe URL\n")


def test_it_starts_quickly_as_it_loads_little(server: str) -> None:
    code = f"import sys; from backing import probe; assert probe.main(['{server}/livez']) == 0; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert "http.client" in loaded
    assert loaded & BANNED == set()
