"""Certificates that the relay finds in Secrets Manager, and new versions of them."""

import asyncio
import datetime as dt
import json
import ssl
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest
import trustme
from aiohttp import ClientSession
from botocore.exceptions import ClientError
from structlog.testing import capture_logs

from backing.aws import Aws
from backing.cache import Cache
from backing.certificates.bundle import Bundle, encode
from backing.certificates.material import Material
from backing.certificates.tokens import offer
from backing.settings import ConfigurationError
from relay.certificates.challenges import answering
from relay.certificates.files import CertificateFiles
from relay.certificates.secrets import CertificateSecrets, SecretWatch, first_certificates
from relay.certificates.tls import FALLBACK
from relay.certificates.watch import Watch
from tests.conftest import REGION, free_port
from tests.relay.house import Files, Running, relay, settings, until
from tests.relay.pairs import TOMORROW, YESTERDAY, eventually, material, reloads, serial, served

pytestmark = pytest.mark.anyio


class Safe:
    """Secrets of a test's own."""

    def __init__(self, moto_url: str) -> None:
        self._client: Any = boto3.client("secretsmanager", endpoint_url=moto_url, region_name=REGION)
        self._prefix = f"t-{uuid.uuid1()}"

    def name(self, name: str) -> str:
        return f"{self._prefix}-{name}"

    def create(self, *names: str) -> None:
        for name in names:
            self._client.create_secret(Name=self.name(name))

    def put(self, name: str, what: Material | str, *hosts: str) -> None:
        text = what if isinstance(what, str) else encode(Bundle(what, hosts, "https://acme.example/dir"))
        self._client.put_secret_value(SecretId=self.name(name), SecretString=text)


@pytest.fixture
def safe(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Safe:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    return Safe(moto_url)


@asynccontextmanager
async def polled(files: Files, safe: Safe, *names: str, **changes: Any) -> AsyncIterator[Running]:
    """A relay that looks at its secrets ten times in a second."""
    changes = {
        "relay_certificate_secrets": ",".join(map(safe.name, names)),
        "relay_certificate_file": "",
        "relay_private_key_file": "",
        **changes,
    }
    chosen = settings(files, **changes)
    async with Aws(REGION).secrets() as client:
        places = CertificateSecrets.of(client, chosen)
        assert places
        first = await first_certificates(places, chosen)
        async with relay(files, served=first, **changes) as running:
            watch = SecretWatch(places, first, running.house.metrics.certificate_reloads, 0.1)
            async with watch.running():
                yield running


async def is_served(running: Running, what: Material, name: str | None = "localhost") -> bool:
    return await served(running, name) == serial(what)


@pytest.mark.requirement("SC-6.1")
@pytest.mark.requirement("TLS-005")
@pytest.mark.requirement("TLS-013")
@pytest.mark.requirement("TLS-017")
async def test_a_new_version_is_taken_up_under_200_sessions(files: Files, safe: Safe) -> None:
    safe.create("tls")
    safe.put("tls", old := material(files.ca, "localhost"), "localhost")
    async with polled(files, safe, "tls") as running, AsyncExitStack() as stack:
        assert await is_served(running, old)
        peers = [await running.signed_in() for _ in range(200)]
        for peer in peers[:100]:
            await peer.envelope()
            peer.send(b"half a ")
        await asyncio.to_thread(safe.put, "tls", new := material(files.ca, "localhost"), "localhost")
        await eventually(lambda: is_served(running, new), 1)
        assert [await served(running, implicit=port) for port in (True, False) * 5] == [serial(new)] * 10
        for peer in peers[:100]:
            peer.send(b"message\r\n.\r\n")
            await peer.expect("250 2.0.0 queued as")
        for peer in peers:
            await peer.ask("NOOP", "250")
            stack.push_async_callback(peer.close)
        assert (len(running.queue.sent), reloads(running, "accepted"), reloads(running, "refused")) == (100, 1, 0)


@pytest.mark.requirement("SC-6.2")
async def test_a_new_version_of_the_same_is_noticed_and_left(files: Files, safe: Safe) -> None:
    safe.create("tls")
    safe.put("tls", same := material(files.ca, "localhost"))
    async with polled(files, safe, "tls") as running:
        context = running.house.certificates.current()
        await asyncio.sleep(0.5)
        with capture_logs() as lines:
            await asyncio.to_thread(safe.put, "tls", same)
            await until(lambda: reloads(running, "unchanged") == 1)
        assert running.house.certificates.current() is context
    assert [line["event"] for line in lines] == ["certificate unchanged"]


def bad(files: Files, what: str) -> tuple[Material | str, tuple[str, ...]]:
    good, other = material(files.ca, "localhost"), material(files.ca, "localhost")
    kinds: dict[str, tuple[Material | str, tuple[str, ...]]] = {
        "no bundle": ("hunter2", ()),
        "half a bundle": (json.dumps({"certificate": good.chain.decode()}), ()),
        "no certificate": (Material(b"garbage", good.key), ()),
        "another's key": (Material(good.chain, other.key), ()),
        "expired": (material(files.ca, "localhost", not_after=YESTERDAY), ()),
        "not yet valid": (
            material(files.ca, "localhost", not_before=TOMORROW, not_after=TOMORROW + dt.timedelta(1)),
            (),
        ),
        "wrong names": (material(files.ca, "other.example"), ("localhost",)),
    }
    return kinds[what]


REASONS = {
    "no bundle": "is no JSON object with PEM texts `certificate` and `key`",
    "half a bundle": "is no JSON object with PEM texts `certificate` and `key`",
    "no certificate": "is not a PEM certificate",
    "another's key": "is not the key of the certificate",
    "expired": "expired on ",
    "not yet valid": "is not valid before ",
    "wrong names": "lacks names: localhost",
}


@pytest.mark.requirement("SC-6.3")
@pytest.mark.parametrize("what", REASONS)
async def test_what_cannot_be_served_is_kept_out_and_told_once(files: Files, safe: Safe, what: str) -> None:
    safe.create("tls")
    safe.put("tls", old := material(files.ca, "localhost"), "localhost")
    async with polled(files, safe, "tls") as running:
        with capture_logs() as lines:
            replacement, names = bad(files, what)
            await asyncio.to_thread(safe.put, "tls", replacement, *names)
            await until(lambda: reloads(running, "refused") == 1)
            await asyncio.sleep(0.5)
        assert (reloads(running, "refused"), await is_served(running, old)) == (1, True)
        await asyncio.to_thread(safe.put, "tls", good := material(files.ca, "localhost"), "localhost")
        await eventually(lambda: is_served(running, good), 1)
    (told,) = lines
    assert (told["event"], told["log_level"], told["secret"]) == ("certificate kept out", "error", safe.name("tls"))
    assert told["reason"].startswith(REASONS[what])
    assert "hunter2" not in str(told)
    # A relay that starts with the same secret serves the version before, which is good.
    await asyncio.to_thread(safe.put, "tls", replacement, *names)
    async with polled(files, safe, "tls") as running:
        assert await is_served(running, good)
        assert not running.house.certificates.bootstrap


@pytest.mark.requirement("TLS-016")
async def test_each_secret_serves_its_names(files: Files, safe: Safe) -> None:
    safe.create("first", "second", "third")
    first, second = material(files.ca, "localhost"), material(files.ca, "mx.shop.example", "www.shop.example")
    safe.put("first", first)
    safe.put("second", second, "mx.shop.example")
    async with polled(files, safe, "first", "second", "third") as running:
        table = {"localhost": first, "mx.shop.example": second, "b.example": first, None: first}
        assert {name: await served(running, name) for name in table} == {n: serial(w) for n, w in table.items()}
        third, smaller = material(files.ca, "b.example"), material(files.ca, "mx.shop.example")
        with capture_logs() as lines:
            await asyncio.to_thread(safe.put, "third", third)
            await eventually(lambda: is_served(running, third, "b.example"), 1)
            await asyncio.to_thread(safe.put, "second", smaller)
            await eventually(lambda: is_served(running, smaller, "mx.shop.example"), 1)
            assert await is_served(running, first)
    lost = [line["names"] for line in lines if line["event"] == "certificate no longer has names"]
    assert lost == [["www.shop.example"]]


async def test_without_a_certificate_the_relay_serves_one_of_its_own_until_there_is_one(
    files: Files, safe: Safe
) -> None:
    safe.create("empty")
    for name in ("empty", "none-at-all"):
        async with polled(files, safe, name, relay_hostname="smtp.example.com") as running:
            certificates = running.house.certificates
            assert (certificates.bootstrap, certificates.names) == (True, frozenset({"smtp.example.com"}))
            peer = await running.connect()
            await peer.expect("220 smtp.example.com")
            if name == "empty":
                await asyncio.to_thread(safe.put, "empty", good := material(files.ca, "localhost"))
                await eventually(lambda: is_served(running, good), 1)
                assert not certificates.bootstrap


@pytest.mark.requirement("TLS-003")
async def test_the_clients_authority_may_be_a_secret(files: Files, safe: Safe) -> None:
    safe.create("tls", "clients")
    known, new = trustme.CA(), trustme.CA()
    safe.put("clients", known.cert_pem.bytes().decode())
    asked = {"relay_client_ca_secret": safe.name("clients"), "relay_tls_client_certificates": "required"}
    async with polled(files, safe, "tls", **asked) as running:
        assert running.house.certificates.bootstrap

        async def lets_in(authority: trustme.CA) -> bool:
            trust = files.trust()
            trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
            authority.issue_cert("app.example").configure_cert(trust)
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=True))
            try:
                await writer.start_tls(trust)
                return (await reader.readline()).startswith(b"220")
            except (ssl.SSLError, ConnectionError):
                return False
            finally:
                writer.transport.abort()

        assert (await lets_in(known), await lets_in(new)) == (True, False)

        async def unchanged() -> bool:
            # The same once more, which is new to a watch that has looked before.
            await asyncio.to_thread(safe.put, "clients", known.cert_pem.bytes().decode())
            return reloads(running, "unchanged") > 0

        await eventually(unchanged, 10)
        await asyncio.to_thread(safe.put, "clients", "no PEM")
        await until(lambda: reloads(running, "refused") == 1)
        assert await lets_in(known)
        await asyncio.to_thread(safe.put, "clients", new.cert_pem.bytes().decode())
        await eventually(lambda: lets_in(new), 1)
        assert not await lets_in(known)
        # What the relay serves for want of a better one is still that.
        assert running.house.certificates.bootstrap


@pytest.mark.requirement("TLS-003")
async def test_the_clients_authority_may_be_a_file_beside_secrets(files: Files, safe: Safe, tmp_path: Path) -> None:
    safe.create("tls")
    known, new = trustme.CA(), trustme.CA()
    known.cert_pem.write_to_path(tmp_path / "clients.pem")
    asked = {"relay_client_ca_file": str(tmp_path / "clients.pem"), "relay_tls_client_certificates": "required"}
    async with polled(files, safe, "tls", **asked) as running:
        where = CertificateFiles.of(running.house.settings)
        assert where == CertificateFiles(None, None, None, tmp_path / "clients.pem")
        assert where
        before = running.house.certificates.current()
        async with Watch(where, running.house.certificates, running.house.metrics.certificate_reloads).running():
            await asyncio.to_thread(new.cert_pem.write_to_path, tmp_path / "clients.pem")
            await until(lambda: reloads(running, "accepted") == 1)
        assert running.house.certificates.current() is not before
        # The watch over the file leaves alone what is from secrets.
        assert running.house.certificates.places == {FALLBACK}
    assert not CertificateFiles.of(settings(files, relay_certificate_secrets=("tls",)))
    async with Aws(REGION).secrets() as client:
        assert not CertificateSecrets.of(client, settings(files))


async def test_challenges_are_answered_from_the_cache(files: Files, valkey_url: str) -> None:
    cache = Cache(settings(files, cache_url=valkey_url), Aws(REGION))
    port, token = free_port(), f"t-{uuid.uuid1()}"
    place = f"http://127.0.0.1:{port}/.well-known/acme-challenge/"

    async def found(path: str) -> tuple[int, bytes]:
        async with http.get(place + path) as answer:
            return answer.status, await answer.read()

    async with cache.opened(), ClientSession() as http:
        async with answering("127.0.0.1", 0, cache):
            pass
        async with answering("127.0.0.1", port, cache):
            assert await found(token) == (404, b"")
            await offer(cache, token, f"{token}.thumbprint")
            assert await found(token) == (200, f"{token}.thumbprint".encode())
            assert await found("no%20token") == (404, b"")
            assert (await found(""))[0] == 404
        away = Cache(settings(files), Aws(REGION))
        async with answering("127.0.0.1", port, away):
            assert await found(token) == (503, b"")


async def test_a_relay_does_not_start_without_its_clients_authority(files: Files, safe: Safe) -> None:
    safe.create("tls", "clients")
    asked = {"relay_client_ca_secret": safe.name("clients"), "relay_tls_client_certificates": "required"}
    with pytest.raises(ConfigurationError, match=r"RELAY_CLIENT_CA_SECRET: .* has nothing in it"):
        async with polled(files, safe, "tls", **asked):
            pass
    safe.put("clients", "no PEM")
    with pytest.raises(ConfigurationError, match="holds no PEM certificates"):
        async with polled(files, safe, "tls", **asked):
            pass


class Flaky:
    """Secrets Manager as its client sees it; may fail."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self.fault: Exception | None = None
        self.asked = 0

    async def get_secret_value(self, **wanted: Any) -> Any:
        self.asked += 1
        if self.fault:
            raise self.fault
        return await self._client.get_secret_value(**wanted)


async def test_secrets_that_cannot_be_read_are_told_once_and_change_nothing(files: Files, safe: Safe) -> None:
    safe.create("tls")
    safe.put("tls", material(files.ca, "localhost"))
    changes: dict[str, Any] = {"relay_certificate_secrets": safe.name("tls"), "relay_certificate_file": ""}
    chosen = settings(files, **changes)
    async with Aws(REGION).secrets() as client:
        flaky: Any = Flaky(client)
        places = CertificateSecrets.of(flaky, chosen)
        first = await first_certificates(places, chosen)
        async with relay(files, served=first, **changes) as running:
            watch = SecretWatch(places, first, running.house.metrics.certificate_reloads, 0.05)
            with capture_logs() as lines:
                async with watch.running():
                    for fault in (
                        TimeoutError("slow"),
                        ClientError({"Error": {"Code": "AccessDenied"}}, "Get"),
                        KeyError(),
                    ):
                        flaky.fault, flaky.asked = fault, 0
                        await until(lambda: flaky.asked > 3)
                        flaky.fault = None
                        await until(lambda: flaky.asked > 5)
                    await asyncio.to_thread(safe.put, "tls", new := material(files.ca, "localhost"))
                    await eventually(lambda: is_served(running, new), 1)
    told = [line for line in lines if line["event"] == "certificates not looked at"]
    assert [line["reason"].partition(":")[0] for line in told if line["log_level"] == "warning"] == [
        f"Secrets Manager GetSecretValue {safe.name('tls')}"
    ] * 2
    assert {line["log_level"] for line in told} == {"warning", "error"}
