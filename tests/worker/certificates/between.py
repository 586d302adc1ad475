"""What stands between the renewer and its ACME server: counts requests, and can answer some in its stead."""

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.client import HTTPSConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trustme

from tests.worker.certificates.pebble import Pebble


@dataclass(frozen=True)
class Answer:
    status: int
    body: dict[str, Any] | str
    headers: dict[str, str] = field(default_factory=dict)


def problem(status: int, kind: str, detail: str, **headers: str) -> Answer:
    """An error document (RFC 8555, 6.7)."""
    body = {"type": f"urn:ietf:params:acme:error:{kind}", "detail": detail, "status": status}
    shown = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, body, {"Content-Type": "application/problem+json", **shown})


@dataclass
class Between:
    """A server in front of Pebble.

    Attributes:
        acme: how to reach it.
        asked: method and path of each request.
        answer: gives the answer to a request, or None for Pebble's own.
        amend: changes Pebble's answer.
    """

    acme: Pebble
    asked: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    answer: Callable[[str], Answer | None] = lambda _: None
    amend: Callable[[str, Any], Any] = lambda _, body: body

    def met(self, asked: str, content: bytes) -> Answer | None:
        self.asked.append(asked)
        self.bodies.append(content)
        return self.answer(asked)

    def payloads(self) -> list[dict[str, Any]]:
        """What was signed, as far as it is more than nothing."""
        signed = [json.loads(body)["payload"] for body in self.bodies if body]
        return [json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))) for text in signed if text]

    def orders(self) -> int:
        return sum("order-plz" in asked for asked in self.asked)


class Handler(BaseHTTPRequestHandler):
    """Answers, or has the real server answer."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def do_GET(self) -> None:
        asked = f"{self.command} {self.path}"
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        made = self.server.front.met(asked, content)
        if made:
            text = made.body if isinstance(made.body, str) else json.dumps(made.body)
            self.say(made.status, made.headers, text.encode())
            return
        status, headers, body = self.server.fetch(self.command, self.path, content, dict(self.headers))
        if "json" in headers.get("Content-Type", ""):
            body = json.dumps(self.server.front.amend(asked, json.loads(body))).encode()
        self.say(status, headers, body)

    do_HEAD = do_POST = do_GET  # noqa: N815 - the library calls them so

    def say(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"content-length", "date", "transfer-encoding", "connection"}:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    """A server in front of another."""

    daemon_threads = True

    def __init__(self, real: Pebble, trust: Path, context: ssl.SSLContext) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self._upstream = urlsplit(real.directory)
        self._inner = ssl.create_default_context(cafile=real.trust)
        place = f"https://127.0.0.1:{self.server_address[1]}/dir"
        self.front = Between(replace(real, directory=place, trust=trust))

    def fetch(
        self, method: str, path: str, content: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        assert self._upstream.hostname
        connection = HTTPSConnection(self._upstream.hostname, self._upstream.port, context=self._inner, timeout=20)
        try:
            connection.request(method, path, content or None, headers)
            answer = connection.getresponse()
            return answer.status, dict(answer.getheaders()), answer.read()
        finally:
            connection.close()


@contextmanager
def between(real: Pebble, folder: Path) -> Iterator[Between]:
    ca = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.cert_pem.write_to_path(folder / "between.pem")
    with Server(real, folder / "between.pem", context) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        yield server.front
        server.shutdown()
        thread.join()
