"""No provider leads a worker inside: the addresses of a host are looked at where the connection is made."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import pytest

from backing.aws import Aws
from backing.ids import new_id
from mail.delivery import Outcome
from mail.endpoints import Network
from mail.errors import Unavailable
from tests.conftest import REGION, free_port
from tests.worker.house import BODY
from tests.worker.sending import HERE, envelope
from worker.gate import guarded_quota
from worker.guard import PROVIDERS
from worker.providers.base import Failed, Provider, Setup
from worker.providers.means import Means
from worker.providers.registry import kinds
from worker.providers.trail import Trail
from worker.providers.web import http_session

pytestmark = [pytest.mark.anyio, pytest.mark.requirement("QG-5")]

WORDS = f"connecting: 127.0.0.1 is not an address on the public internet, nor within {PROVIDERS}"
API = {"mailgun": {"domain": "mg.example"}, "sendgrid": {"mode": "api"}, "postmark": {"mode": "api"}, "ses": {}}


@asynccontextmanager
async def built(kind: str, config: dict[str, Any], allowed: tuple[Network, ...]) -> AsyncIterator[Provider]:
    async with http_session(allowed) as http, http_session(None) as own:
        create = kinds(Means(Aws(REGION), http, own, allowed))[kind]
        provider = await create(Setup(new_id(), "main", config, None if kind in {"ses", "smtp"} else "hush"))
        try:
            yield provider
        finally:
            await provider.close()


class Door:
    """Somebody within, who counts who comes."""

    def __init__(self) -> None:
        self.came = 0

    async def met(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.came += 1
        writer.write(b"421 4.3.2 go away\r\n")
        writer.close()

    @asynccontextmanager
    async def open(self) -> AsyncIterator[int]:
        async with await asyncio.start_server(self.met, "127.0.0.1", 0) as server:
            yield server.sockets[0].getsockname()[1]


async def outcome(provider: Provider) -> tuple[Outcome, str]:
    (result,) = await provider.send(envelope(), BODY, asyncio.get_running_loop().time() + 30)
    return result.outcome, result.text


# As resolvers read them, these are one address.
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "127.1", "0x7f.1"])
@pytest.mark.parametrize("tls", ["none", "implicit"])
async def test_an_smtp_server_within_is_not_called(host: str, tls: str) -> None:
    door = Door()
    async with door.open() as port, built("smtp", {"host": host, "port": port, "tls": tls}, ()) as provider:
        found, words = await outcome(provider)
    assert (found, words.replace("::1 ", "127.0.0.1 ")) == (Outcome.MISCONFIGURED, WORDS)
    assert door.came == 0


@pytest.mark.parametrize("kind", ["sendgrid", "postmark"])
async def test_nor_behind_a_kind_that_relays(kind: str) -> None:
    door = Door()
    async with door.open() as port:
        smtp = {"host": "127.0.0.1", "port": port, "tls": "none", "username": None}
        async with built(kind, {"smtp": smtp | {"username": None}}, ()) as provider:
            assert await outcome(provider) == (Outcome.MISCONFIGURED, WORDS)
    assert door.came == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("kind", API)
async def test_nor_is_an_endpoint_within(kind: str, host: str, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    door = Door()
    async with door.open() as port:
        config = {**API[kind], "endpoint": f"http://{host}:{port}"}
        async with built(kind, config, ()) as provider:
            found, words = await outcome(provider)
        assert (found, words.replace("::1 ", "127.0.0.1 ")) == (Outcome.MISCONFIGURED, WORDS)
        assert door.came == 0
        async with built(kind, config, HERE) as provider:
            assert (await outcome(provider))[0] is not Outcome.MISCONFIGURED
    assert door.came > 0


async def test_a_check_goes_nowhere_else_when_the_name_says_something_else_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = iter([(socket.AF_INET, ("127.0.0.1",))])

    async def resolve(_: str, port: int, **__: Any) -> list[Any]:
        family, (host, *rest) = next(answers, (socket.AF_INET6, ("::1", 0, 0)))
        return [(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, *rest))]

    front, within = Door(), Door()
    async with front.open() as port, await asyncio.start_server(within.met, "::1", port):
        config = {"endpoint": f"http://localhost:{port}"}
        async with built("ses", config, (ip_network("127.0.0.1/32"),)) as provider:
            monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
            with pytest.raises(Failed):
                await provider.check(Trail())
    assert (front.came, within.came) == (1, 0)


async def test_an_allowed_network_is_reached() -> None:
    door = Door()
    async with (
        door.open() as port,
        built("smtp", {"host": "localhost", "port": port, "tls": "none"}, HERE) as provider,
    ):
        assert await outcome(provider) == (Outcome.PROVIDER_DOWN, "4.3.2 go away")
    assert door.came == 1


async def test_a_name_with_one_address_within_is_refused_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(*_: Any, **__: Any) -> list[Any]:
        return [(2, 1, 6, "", (address, 25)) for address in ("127.0.0.1", "10.0.0.7")]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve, raising=False)
    door = Door()
    async with (
        door.open() as port,
        built("smtp", {"host": "mx.example", "port": port, "tls": "none"}, (ip_network("127.0.0.0/8"),)) as provider,
    ):
        assert await outcome(provider) == (Outcome.MISCONFIGURED, WORDS.replace("127.0.0.1", "10.0.0.7"))
    assert door.came == 0


async def test_the_quota_of_ses_is_not_asked_for_within(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door()
    async with door.open() as port:
        for host in ("127.0.0.1", "localhost"):
            with pytest.raises(Unavailable, match=f"is not an address on the public internet, nor within {PROVIDERS}"):
                await guarded_quota(Aws(REGION), (), "eu-central-1", f"http://{host}:{port}")
    assert door.came == 0
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    # Ours is wherever we say; what stands for SES there knows the path and not the quota.
    for allowed, endpoint in (((), None), (HERE, moto_url)):
        with pytest.raises(Unavailable, match="404"):
            await guarded_quota(Aws(REGION), allowed, REGION, endpoint)
    with pytest.raises(Unavailable):
        await guarded_quota(Aws(REGION), HERE, REGION, f"http://127.0.0.1:{free_port()}")
    with pytest.raises(Unavailable):
        await guarded_quota(Aws(REGION), HERE, REGION, "http://[")


async def test_ses_of_ours_may_be_within(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    async with built("ses", {}, ()) as provider:
        found, words = await outcome(provider)
    assert "connecting" not in words
    assert found is not Outcome.PROVIDER_DOWN
