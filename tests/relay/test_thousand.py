"""A thousand sessions at a time in one relay: drained in the middle of DATA, and living on under a new certificate."""

import asyncio
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import boto3
import pytest
from cryptography import x509

from mail.job import Job, decode
from tests.conftest import REGION
from tests.relay.conftest import provision
from tests.relay.house import PLAIN, Files, Peer, content_of
from tests.relay.process import Process, running
from tests.waiting import wait_until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]

SESSIONS = 1000
# So that the client's own work makes no session wait for longer than it may.
AT_A_TIME = 50
# The bound of the issue: a second after the files changed, every handshake gets the new certificate.
SWAP_SECONDS = 1.0


async def for_each(sessions: int, step: Callable[[int], Awaitable[None]], at_a_time: int = AT_A_TIME) -> None:
    room = asyncio.Semaphore(at_a_time)

    async def take(number: int) -> None:
        async with room:
            await step(number)

    async with asyncio.TaskGroup() as tasks:
        for number in range(sessions):
            tasks.create_task(take(number))


async def connect(process: Process, trust: ssl.SSLContext) -> Peer:
    reader, writer = await asyncio.open_connection("localhost", process.tls, ssl=trust, server_hostname="localhost")
    peer = Peer(reader, writer, trust)
    peer.patience = 60.0
    return peer


@asynccontextmanager
async def crowd(process: Process, trust: ssl.SSLContext) -> AsyncIterator[list[Peer]]:
    """A thousand sessions, signed in."""
    peers: list[Peer] = []

    async def enter(_: int) -> None:
        peer = await connect(process, trust)
        peers.append(peer)
        await peer.expect("220")
        await peer.ask("EHLO client.example", "250")
        await peer.ask(f"AUTH PLAIN {PLAIN}", "235")

    try:
        await for_each(SESSIONS, enter)
        yield peers
    finally:
        for peer in peers:
            peer.writer.transport.abort()


def letter(number: int) -> bytes:
    return f"Subject: {number}\r\nMessage-ID: <{number}@example.com>\r\n\r\nLetter {number}\r\n".encode()


def queued(aws: dict[str, str]) -> list[Job]:
    """Take every job from the queue."""
    client, url = boto3.client("sqs", endpoint_url=aws["AWS_ENDPOINT_URL"], region_name=REGION), aws["QUEUE_URL"]
    jobs: list[Job] = []
    while messages := client.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        jobs += [decode(message["Body"]) for message in messages]
        entries = [{"Id": str(n), "ReceiptHandle": message["ReceiptHandle"]} for n, message in enumerate(messages)]
        client.delete_message_batch(QueueUrl=url, Entries=entries)
    return jobs


@pytest.fixture(scope="module")
def aws(ministack_url: str) -> dict[str, str]:
    """A queue that keeps up with a thousand messages at once, which moto's does not."""
    return provision(ministack_url)


@pytest.fixture
def spacious(with_account: dict[str, str]) -> dict[str, str]:
    """The environment of a relay that lets one address have a thousand sessions."""
    return with_account | {"RELAY_EXEMPT_NETWORKS": "127.0.0.0/8", "RELAY_MAX_SESSIONS_PER_ACCOUNT": str(SESSIONS)}


@pytest.mark.requirement("SC-10.1")
@pytest.mark.requirement("SCALE-002")
@pytest.mark.requirement("CORE-SMTP-009")
async def test_a_drain_of_a_thousand_sessions_in_data_loses_no_message(
    spacious: dict[str, str], aws: dict[str, str], files: Files
) -> None:
    with running(spacious | {"RELAY_DRAIN_SECONDS": "90"}) as process:
        async with crowd(process, files.trust()) as peers:

            async def begin(number: int) -> None:
                await peers[number].envelope()
                peers[number].send(letter(number)[:-7])

            async def finish(number: int) -> None:
                peers[number].send(letter(number)[-7:] + b".\r\n")
                await peers[number].expect("250 2.0.0 queued as")
                await peers[number].expect("421 4.3.2")
                assert await peers[number].rest() == b""

            await for_each(SESSIONS, begin)
            process.child.send_signal(signal.SIGTERM)
            await asyncio.to_thread(wait_until, lambda: process.ready() != 200, 10, "still ready after SIGTERM")
            await for_each(SESSIONS, finish, SESSIONS)
        code, lines = await asyncio.to_thread(process.ended)
    assert code == 0
    (stopped,) = (line for line in lines if line["event"] == "stopped")
    assert (stopped["accepted"], stopped["deferred"], stopped["cut"]) == (SESSIONS, 0, 0)
    assert sorted(content_of(job) for job in queued(aws)) == sorted(letter(number) for number in range(SESSIONS))


def serial_of(peer: Peer) -> int:
    der = peer.writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    return x509.load_der_x509_certificate(der).serial_number


def issue(files: Files, folder: Path) -> int:
    """Replace the relay's certificate and key by new ones, as a renewal does; the new serial number."""
    pair = files.ca.issue_cert("localhost", "127.0.0.1")
    for name, blob in (("server.key", pair.private_key_pem), ("server.pem", pair.cert_chain_pems[0])):
        fresh = folder / f"{name}.new"
        fresh.write_bytes(blob.bytes())
        fresh.rename(folder / name)
    return x509.load_pem_x509_certificate(pair.cert_chain_pems[0].bytes()).serial_number


@pytest.mark.requirement("TLS-005")
@pytest.mark.requirement("TLS-013")
@pytest.mark.requirement("EC-1")
async def test_a_new_certificate_under_load_ends_no_session_and_is_what_every_newcomer_gets(
    spacious: dict[str, str], aws: dict[str, str], files: Files, tmp_path: Path
) -> None:
    issue(files, tmp_path)
    own = {
        "RELAY_CERTIFICATE_FILE": str(tmp_path / "server.pem"),
        "RELAY_PRIVATE_KEY_FILE": str(tmp_path / "server.key"),
        # The newcomers have sessions of their own.
        "RELAY_MAX_CONNECTIONS": str(SESSIONS + AT_A_TIME),
        "RELAY_MAX_SESSIONS_PER_ACCOUNT": str(SESSIONS + AT_A_TIME),
    }
    with running(spacious | own) as process:
        async with crowd(process, files.trust()) as peers:
            old = serial_of(peers[0])

            async def send(number: int) -> None:
                assert (await peers[number].submit(letter(number).removesuffix(b"\r\n"))).startswith(
                    "250 2.0.0 queued as"
                )

            async with asyncio.TaskGroup() as tasks:
                load = tasks.create_task(for_each(SESSIONS, send))
                new = await asyncio.to_thread(issue, files, tmp_path)
                await asyncio.sleep(SWAP_SECONDS)
                for _ in range(AT_A_TIME):
                    newcomer = await connect(process, files.trust())
                    assert (await newcomer.expect("220"), serial_of(newcomer)) == ("220 localhost ESMTP", new)
                    await newcomer.close()
                await load
            for peer in peers:
                await peer.ask("NOOP", "250 2.0.0")
            assert {serial_of(peer) for peer in peers} == {old} != {new}
        code, _ = await asyncio.to_thread(process.stop)
    assert code == 0
    assert sorted(content_of(job) for job in queued(aws)) == sorted(letter(number) for number in range(SESSIONS))
