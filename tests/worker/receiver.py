"""A webhook endpoint over TLS on loopback that answers as a script says, and checks signatures as a receiver would."""

import asyncio
import base64
import hashlib
import hmac
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import trustme
from aiohttp import web

HANG = "hang"  # never answer


@dataclass(frozen=True, slots=True)
class Answer:
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Got:
    headers: Mapping[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def signed_with(self, secret: str) -> bool:
        """What a receiver that knows one secret says of it."""
        timestamp = self.headers["webhook-timestamp"]
        signed = f"{self.id}.{timestamp}.".encode() + self.body
        mac = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        return f"v1,{base64.b64encode(mac).decode()}" in self.headers["webhook-signature"].split(" ")


class Receiver:
    """Answers in turn; its last answer repeats."""

    def __init__(self, authority: trustme.CA) -> None:
        self.answers: list[Answer | str] = [Answer()]
        self.got: list[Got] = []
        self.port = 0
        self.over = asyncio.Event()
        self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost", "127.0.0.1", "::ffff:127.0.0.1", "hook.example").configure_cert(self._tls)

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}/hook"

    @asynccontextmanager
    async def serving(self) -> AsyncIterator["Receiver"]:
        """Take posts until the block ends; at the same port if it did so before."""
        self.over.clear()
        runner = web.ServerRunner(web.Server(self._meet), shutdown_timeout=1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        server: Any = site._server  # noqa: SLF001 - it offers no other way
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.over.set()
            await runner.cleanup()

    async def _meet(self, request: web.BaseRequest) -> web.StreamResponse:
        self.got.append(Got({name.lower(): value for name, value in request.headers.items()}, await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, str):
            await self.over.wait()
            answer = Answer(503)
        return web.Response(status=answer.status, headers=dict(answer.headers), body=answer.body)
