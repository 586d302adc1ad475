"""Behind a load balancer: the PROXY header comes first, on both ports, and only from where it is trusted."""

import asyncio
import ssl
import struct
from contextlib import suppress

import pytest
from structlog.testing import capture_logs

from backing.settings import ConfigurationError, read
from relay.settings import RelaySettings
from tests.relay.house import PLAIN, Files, Peer, Running, relay, until

pytestmark = pytest.mark.anyio

HERE = "127.0.0.0/8"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 40000 587\r\n"
V1_SIX = b"PROXY TCP6 2001:db8::7 2001:db8::1 40000 587\r\n"
V2 = SIGNATURE + b"\x21\x11" + struct.pack("!H", 12 + 5) + bytes([192, 0, 2, 7, 198, 51, 100, 1]) + b"\x9c\x40\x02\x4b"
V2 += b"\xea\0\2hi"
LOCAL = SIGNATURE + b"\x20\0\0\0"


class Raw:
    """A connection on which octets are sent as the test wants them cut, with TLS made in memory."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None

    async def send(self, octets: bytes, size: int) -> None:
        for start in range(0, len(octets), size):
            self.writer.write(octets[start : start + size])
            await asyncio.sleep(0)

    async def shake_hands(self, trust: ssl.SSLContext, before: bytes, size: int) -> None:
        """A handshake with something before it, all of it in pieces of one size."""
        self.tls = trust.wrap_bio(self.incoming, self.outgoing, server_hostname="localhost")
        while True:
            with suppress(ssl.SSLWantReadError):
                self.tls.do_handshake()
                await self.send(before + self.outgoing.read(), size)
                return
            await self.send(before + self.outgoing.read(), size)
            before = b""
            await self._more()

    async def hear(self) -> bytes:
        if self.tls is None:
            return await asyncio.wait_for(self.reader.readuntil(b"\r\n"), 10)
        while True:
            with suppress(ssl.SSLWantReadError):
                return self.tls.read(65_536)
            await self._more()

    async def _more(self) -> None:
        if data := await asyncio.wait_for(self.reader.read(65_536), 10):
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    async def rest(self) -> bytes:
        with suppress(ConnectionError):
            return await asyncio.wait_for(self.reader.read(), 10)
        return b""

    async def close(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def dial(running: Running, *, implicit: bool = False) -> Raw:
    raw = Raw(*await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=implicit)))
    running.peers.append(Peer(raw.reader, raw.writer, running.trust))
    return raw


@pytest.mark.parametrize("header", [V1, V1_SIX, V2], ids=["1", "1 with IPv6", "2"])
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "STARTTLS"])
async def test_the_client_is_who_the_load_balancer_says(
    files: Files,
    header: bytes,
    implicit: bool,  # noqa: FBT001
) -> None:
    client = "2001:db8::7" if header is V1_SIX else "192.0.2.7"
    with capture_logs() as lines:
        async with relay(files, relay_proxy_networks=HERE) as running:
            reader, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=implicit))
            writer.write(header)
            peer = Peer(reader, writer, running.trust)
            running.peers.append(peer)
            if implicit:
                await writer.start_tls(running.trust, server_hostname="localhost")
            await peer.expect("220 ")
            await peer.ask("EHLO a.example", "250")
            if not implicit:
                await peer.start_tls()
                await peer.ask("EHLO a.example", "250")
            await peer.ask(f"AUTH PLAIN {PLAIN}", "235")
            assert (await peer.submit(b"Subject: x\r\n")).startswith("250 ")
            await peer.ask("QUIT", "221")
            (job,) = running.queue.jobs
            assert isinstance(job.body, bytes)
            assert client.encode() in job.body.partition(b"Subject")[0]
            await until(lambda: any(line["event"] == "session ended" for line in lines))
    (ended,) = [line for line in lines if line["event"] == "session ended"]
    assert (ended["peer"], ended["proxy"], ended["sni"]) == (client, "127.0.0.1", "localhost")


@pytest.mark.parametrize("size", [1, 7, 100_000], ids=["octet by octet", "in pieces", "at once"])
@pytest.mark.parametrize("header", [V1, V2], ids=["1", "2"])
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "STARTTLS"])
async def test_however_the_header_is_cut(
    files: Files,
    header: bytes,
    implicit: bool,  # noqa: FBT001
    size: int,
) -> None:
    async with relay(files, relay_proxy_networks=HERE) as running:
        raw = await dial(running, implicit=implicit)
        if implicit:
            await raw.shake_hands(running.trust, header, size)
        else:
            await raw.send(header, size)
        assert await raw.hear() == b"220 relay.test ESMTP\r\n"
        (session,) = running.server.sessions
        assert (session.session.peer, session.session.proxy) == ("192.0.2.7", "127.0.0.1")
        await raw.close()


async def test_a_command_may_follow_in_the_same_segment(files: Files) -> None:
    async with relay(files, relay_proxy_networks=HERE) as running:
        raw = await dial(running)
        await raw.send(V2 + b"EHLO a.example\r\nQUIT\r\n", 100_000)
        heard = (await raw.rest()).decode()
        assert heard.startswith("220 relay.test ESMTP\r\n250-relay.test")
        assert heard.endswith("221 2.0.0 Goodbye\r\n")
        await raw.close()


@pytest.mark.parametrize("networks", ["", "192.0.2.0/24, 2001:db8::/32"], ids=["off", "elsewhere"])
async def test_a_header_from_anywhere_else_is_not_one(files: Files, networks: str) -> None:
    async with relay(files, relay_proxy_networks=networks) as running:
        peer = await running.connect()
        await peer.expect("220")
        await peer.ask(V1.decode().rstrip(), "500 5.5.2")
        await peer.ask("NOOP", "250")
        (session,) = running.server.sessions
        assert (session.session.peer, session.session.proxy) == ("127.0.0.1", None)
        raw = await dial(running, implicit=True)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await raw.shake_hands(running.trust, V2, 100_000)
        await raw.close()
        await until(lambda: running.counted("relay_connections_total", result="tls_failed") == 1)


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n", b""], ids=["LOCAL", "UNKNOWN", "silence"])
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "STARTTLS"])
async def test_a_health_check_is_counted_and_not_logged(
    files: Files,
    header: bytes,
    implicit: bool,  # noqa: FBT001
) -> None:
    with capture_logs() as lines:
        async with relay(files, relay_proxy_networks=HERE) as running:
            raw = await dial(running, implicit=implicit)
            if header:
                await raw.send(header, 100_000)
                assert await raw.rest() == b""
            await raw.close()
            await until(lambda: running.counted("relay_connections_total", result="probe") == 1)
            assert running.server.tally.sessions == 0
    assert {line["event"] for line in lines} == {"listening"}


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (b"EHLO client.example\r\n", "no PROXY header"),
        (b"\x16\x03\x01\x02\x00", "no PROXY header"),
        (V1[:20], "closed before the PROXY header"),
        (V2[:20], "closed before the PROXY header"),
        (V1.replace(b"TCP4", b"TCP9"), "version 1 with other words than it has"),
        (SIGNATURE + b"\x31\x11\0\0", "version 2 with another version or command"),
    ],
)
@pytest.mark.parametrize("implicit", [True, False], ids=["implicit", "STARTTLS"])
async def test_without_a_good_header_nothing_is_said(
    files: Files,
    octets: bytes,
    reason: str,
    implicit: bool,  # noqa: FBT001
) -> None:
    with capture_logs() as lines:
        async with relay(files, relay_proxy_networks=HERE) as running:
            raw = await dial(running, implicit=implicit)
            await raw.send(octets, 100_000)
            raw.writer.write_eof()
            assert await raw.rest() == b""
            assert running.counted("relay_connections_total", result="proxy_failed") == 1
            assert running.server.tally.sessions == 0
    (told,) = [line for line in lines if line["event"] != "listening"]
    assert (told["proxy"], told["reason"]) == ("127.0.0.1", reason)


async def test_a_header_may_not_be_late(files: Files) -> None:
    async with relay(files, relay_proxy_networks=HERE, relay_handshake_timeout_seconds=0.3) as running:
        begun, silent = await dial(running), await dial(running)
        await begun.send(V1[:-1], 100_000)
        assert (await begun.rest(), await silent.rest()) == (b"", b"")
        assert running.counted("relay_connections_total", result="proxy_failed") == 1
        assert running.counted("relay_connections_total", result="probe") == 1


def test_networks_are_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_PROXY_NETWORKS", "10.0.0.0/8,10.0.0.0/33")
    with pytest.raises(ConfigurationError, match=r"RELAY_PROXY_NETWORKS: .*'10\.0\.0\.0/33' is not a network"):
        read(RelaySettings)
