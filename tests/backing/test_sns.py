"""The certificates of SNS, from a server that stands where AWS's would."""

import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from typing_extensions import override

from backing.sns import MAX_CERTIFICATE, MAX_KEPT, Certificates
from mail.errors import Unavailable
from mail.events.event import BadCall
from tests.conftest import free_port
from tests.mail.events.calls import sns

pytestmark = pytest.mark.anyio

TOPIC = "arn:aws:sns:eu-central-1:123456789012:ses-events"
TOPICS = frozenset({TOPIC})


class Here(AbstractResolver):
    """Every name is this machine."""

    def __init__(self, port: int) -> None:
        self._port = port

    @override
    async def resolve(self, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(hostname=host, host="127.0.0.1", port=self._port, family=socket.AF_INET, proto=0, flags=0)
        ]

    @override
    async def close(self) -> None:
        pass


@dataclass
class Aws:
    """What the server answers, and what it was asked."""

    answers: list[web.Response] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        self.asked.append(str(request.url))
        return self.answers.pop(0) if self.answers else web.Response(body=b"PEM")


@asynccontextmanager
async def serving(aws: Aws, *, trusted: bool = True) -> AsyncIterator[Certificates]:
    authority, port = trustme.CA(), free_port()
    context, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
    authority.issue_cert("sns.eu-central-1.amazonaws.com").configure_cert(context)
    if trusted:
        authority.configure_trust(client)
    runner = web.ServerRunner(web.Server(aws.serve))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    connector = aiohttp.TCPConnector(resolver=Here(port), ssl=client)
    try:
        async with aiohttp.ClientSession(connector=connector) as http:
            yield Certificates(http)
    finally:
        await runner.cleanup()


def message(n: int = 0, /, **changes: Any) -> bytes:
    call = sns("{}")
    call["SigningCertURL"] = call["SigningCertURL"].replace("cdef.pem", f"{n:04}.pem")
    return json.dumps(call | changes).encode()


async def test_a_certificate_is_fetched_once() -> None:
    aws = Aws()
    async with serving(aws) as certificates:
        assert [await certificates.of(message(), TOPICS) for _ in range(3)] == [b"PEM"] * 3
    assert aws.asked == [
        "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789ab0000.pem"
    ]


async def test_only_so_many_are_kept() -> None:
    aws = Aws()
    async with serving(aws) as certificates:
        for n in (*range(MAX_KEPT + 1), MAX_KEPT, 0):
            await certificates.of(message(n), TOPICS)
    assert len(aws.asked) == MAX_KEPT + 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (web.Response(status=403), "HTTP 403"),
        (web.Response(status=302, headers={"Location": "https://evil.example/"}), "HTTP 302"),
        (web.Response(body=b"x" * (MAX_CERTIFICATE + 1)), f"longer than {MAX_CERTIFICATE} octets"),
    ],
)
async def test_what_aws_does_not_give_is_asked_for_again(answer: web.Response, reason: str) -> None:
    aws = Aws([answer])
    async with serving(aws) as certificates:
        with pytest.raises(Unavailable, match=reason):
            await certificates.of(message(), TOPICS)
        assert await certificates.of(message(), TOPICS) == b"PEM"
    assert len(aws.asked) == 2


async def test_a_server_that_cannot_prove_to_be_aws_is_not_believed() -> None:
    aws = Aws()
    async with serving(aws, trusted=False) as certificates:
        with pytest.raises(Unavailable, match="SNS certificate: ClientConnectorCertificateError"):
            await certificates.of(message(), TOPICS)
    assert aws.asked == []


@pytest.mark.parametrize("changes", [{"TopicArn": TOPIC + "x"}, {"SigningCertURL": "https://evil.example/x.pem"}])
async def test_nothing_is_fetched_for_a_message_that_is_not_for_us(changes: dict[str, str]) -> None:
    aws = Aws()
    async with serving(aws) as certificates:
        with pytest.raises(BadCall):
            await certificates.of(message(**changes), TOPICS)
    assert aws.asked == []
