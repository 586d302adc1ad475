"""Certificates with their keys, and what a relay is seen to serve."""

import asyncio
import datetime as dt
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509

from backing.certificates.material import Material
from relay.certificates.files import CertificateFiles
from relay.certificates.watch import Watch
from tests.relay.house import Files, Peer, Running, relay

YESTERDAY = dt.datetime.now(dt.UTC) - dt.timedelta(days=1)
TOMORROW = dt.datetime.now(dt.UTC) + dt.timedelta(days=1)


def material(ca: trustme.CA, *names: str, **dates: Any) -> Material:
    pair = ca.issue_cert(*names, **dates)
    return Material(b"".join(blob.bytes() for blob in pair.cert_chain_pems), pair.private_key_pem.bytes())


def write(folder: Path, name: str, what: Material) -> None:
    """Put a pair in a folder as ACME clients do: whole files, renamed into place."""
    for ending, content in (("pem", what.chain), ("key", what.key)):
        (folder / f".{name}").write_bytes(content)
        (folder / f".{name}").rename(folder / f"{name}.{ending}")


def serial(what: Material) -> int:
    return x509.load_pem_x509_certificate(what.chain).serial_number


async def served(running: Running, name: str | None = "localhost", *, implicit: bool = True) -> int:
    """Serial number of the certificate that a client is served who asks for a name."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust.check_hostname = False
    trust.verify_mode = ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", running.port(implicit_tls=implicit))
    peer = Peer(reader, writer, trust)
    running.peers.append(peer)
    if not implicit:
        await peer.expect("220")
        await peer.ask("EHLO a.example", "250")
        await peer.ask("STARTTLS", "220")
    await writer.start_tls(trust, server_hostname=name or "")
    octets = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    await peer.close()
    return x509.load_der_x509_certificate(octets).serial_number


@asynccontextmanager
async def watched(files: Files, poll_seconds: float = 60, **changes: Any) -> AsyncIterator[Running]:
    async with relay(files, **changes) as running:
        where, house = CertificateFiles.of(running.house.settings), running.house
        watch = Watch(where, house.certificates, house.metrics.certificate_reloads, poll_seconds)
        async with watch.running():
            yield running


def own(files: Files, folder: Path) -> tuple[Files, Material]:
    """The relay's files in a folder that a test may write to."""
    what = Material(files.certificate.read_bytes(), files.key.read_bytes())
    write(folder, "server", what)
    return replace(files, certificate=folder / "server.pem", key=folder / "server.key"), what


async def eventually(condition: Callable[[], Awaitable[bool]], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what is waited for happens in the files and at the relay
            await asyncio.sleep(0.02)


def reloads(running: Running, result: str) -> float:
    return running.counted("relay_certificate_reloads_total", result=result)
