"""The relay in process on free ports, honest small stand-ins for what it leans on, and a client of raw SMTP."""

import asyncio
import base64
import re
import ssl
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import trustme
from prometheus_client import CollectorRegistry

from backing.aws import Aws
from backing.cache import Cache
from backing.metrics import RelayMetrics
from backing.notices import Kind, Notice
from backing.quotas import Quotas
from backing.sqs import Outgoing
from mail.accounts import Account, Credential, GeneratedSecret, secret_digest
from mail.errors import Unavailable
from mail.job import Job, StoredBody, decode
from relay.certificates.files import read_certificates
from relay.intake.accept import Intake
from relay.intake.budget import Budget
from relay.intake.shelf import BodyStore
from relay.policy.auth import Doorkeeper
from relay.policy.changes import Changes
from relay.policy.guard import Guard, Rules
from relay.policy.load import Load
from relay.policy.suppression import SuppressionLists
from relay.server import RelayServer
from relay.settings import RelaySettings
from relay.smtp.visit import House
from relay.transcript import Transcripts
from tests.relay.lists import Lists

KEY = bytes(range(32))
USER, SECRET = "app", "correct horse"
ACCOUNT = Account(UUID(int=1), "shop", frozenset({"example.com", "bücher.example", "*.mail.example.com"}))
CREDENTIAL = Credential(UUID(int=2), USER, GeneratedSecret(secret_digest(KEY, USER, SECRET)), ACCOUNT)
PLAIN = base64.b64encode(f"\0{USER}\0{SECRET}".encode()).decode()


@dataclass
class Queue:
    """Keeps what it is sent, as SQS would; can be made to fail, to refuse, or to hold its answer back."""

    sent: list[Outgoing] = field(default_factory=list)
    batches: list[int] = field(default_factory=list)
    fault: Exception | None = None
    refusal: str | None = None
    answers: asyncio.Event = field(default_factory=asyncio.Event)
    asked: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.answers.set()

    async def send(self, batch: Sequence[Outgoing]) -> list[str | None]:
        self.asked.set()
        await self.answers.wait()
        if self.fault:
            raise self.fault
        if self.refusal:
            return [self.refusal for _ in batch]
        self.batches.append(len(batch))
        self.sent.extend(batch)
        return [None for _ in batch]

    @property
    def jobs(self) -> list[Job]:
        return [decode(message.text) for message in self.sent]


@dataclass
class Bodies:
    """Keeps bodies, as S3 would; knows which uploads are open, and how many were given up."""

    stored: dict[str, bytes] = field(default_factory=dict)
    fault: Exception | None = None
    open: set[UUID] = field(default_factory=set)
    aborted: int = 0

    async def put(self, message_id: UUID, body: bytes) -> StoredBody:
        if self.fault:
            raise self.fault
        self.stored[str(message_id)] = body
        return StoredBody("bodies", str(message_id))

    def upload(self, message_id: UUID, _: asyncio.TaskGroup) -> "Upload":
        self.open.add(message_id)
        return Upload(self, message_id)


@dataclass
class Upload:
    """A body on its way to `Bodies`."""

    bodies: Bodies
    message_id: UUID
    body: bytearray = field(default_factory=bytearray)

    @property
    def held(self) -> int:
        return len(self.body)

    async def write(self, piece: bytes) -> None:
        if self.bodies.fault:
            raise self.bodies.fault
        self.body += piece

    async def complete(self) -> StoredBody:
        place = await self.bodies.put(self.message_id, bytes(self.body))
        self.bodies.open.discard(self.message_id)
        return place

    async def abort(self) -> None:
        self.bodies.aborted += 1
        self.bodies.open.discard(self.message_id)


@dataclass
class Accounts:
    """Knows credentials, as PostgreSQL would; can be down."""

    credentials: dict[str, Credential] = field(default_factory=lambda: {USER: CREDENTIAL})
    down: bool = False
    asked: int = 0

    async def __call__(self, username: str, /) -> Credential | None:
        self.asked += 1
        if self.down:
            raise Unavailable("PostgreSQL: connection refused, password=hunter2")
        return self.credentials.get(username)

    async def certified(self, names: Sequence[str], /) -> Credential | None:
        self.asked += 1
        if self.down:
            raise Unavailable("PostgreSQL: connection refused, password=hunter2")
        return next((found for found in self.credentials.values() if found.certificate_name in names), None)


@dataclass
class Running:
    """A relay that runs, and all it leans on."""

    server: RelayServer
    house: House
    queue: Queue
    bodies: Bodies
    accounts: Accounts
    registry: CollectorRegistry
    trust: ssl.SSLContext
    peers: list["Peer"]
    lists: Lists

    def port(self, *, implicit_tls: bool = False) -> int:
        return self.server.addresses[implicit_tls][1]

    def counted(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(name, labels) or 0.0

    def hear(self, kind: Kind, subject: object) -> None:
        """Let the relay hear a change notice."""
        house = self.house
        Changes(house.doorkeeper, house.suppressions, house.transcripts).hear(Notice(kind, str(subject)))

    async def connect(self, *, implicit_tls: bool = False) -> "Peer":
        tls = {"ssl": self.trust, "server_hostname": "localhost"} if implicit_tls else {}
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port(implicit_tls=implicit_tls), **tls)  # type: ignore[arg-type]
        self.peers.append(Peer(reader, writer, self.trust))
        return self.peers[-1]

    async def signed_in(self) -> "Peer":
        peer = await self.connect(implicit_tls=True)
        await peer.expect("220")
        await peer.ask("EHLO client.example", "250")
        await peer.ask(f"AUTH PLAIN {PLAIN}", "235")
        return peer


class Peer:
    """A client that sends what it is told and reads whole replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, trust: ssl.SSLContext) -> None:
        self.reader, self.writer, self._trust = reader, writer, trust
        # Seconds for one reply.
        self.patience = 10.0

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def reply(self) -> str:
        """The next reply, its lines parted by LF; empty at the end of the session."""
        lines = []
        while line := await asyncio.wait_for(self.reader.readline(), self.patience):
            lines.append(line.decode("ascii"))
            if line[3:4] != b"-":
                break
        return "".join(lines).replace("\r\n", "\n").rstrip("\n")

    async def expect(self, start: str) -> str:
        reply = await self.reply()
        assert reply.startswith(start), reply
        return reply

    async def ask(self, line: str, start: str) -> str:
        self.send(line.encode() + b"\r\n")
        return await self.expect(start)

    async def start_tls(self) -> None:
        await self.ask("STARTTLS", "220 2.0.0")
        await self.writer.start_tls(self._trust, server_hostname="localhost")

    async def submit(self, content: bytes, recipients: Sequence[str] = ("you@example.net",)) -> str:
        """One transaction; the reply to the end of DATA."""
        await self.envelope(recipients)
        self.send(content + b"\r\n.\r\n")
        return await self.reply()

    async def envelope(self, recipients: Sequence[str] = ("you@example.net",)) -> None:
        await self.ask("MAIL FROM:<me@example.com>", "250 2.1.0")
        for recipient in recipients:
            await self.ask(f"RCPT TO:<{recipient}>", "250 2.1.5")
        await self.ask("DATA", "354")

    async def rest(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), self.patience)

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()


@dataclass(frozen=True)
class Files:
    """A certificate authority of the test session, and the relay's certificate."""

    ca: trustme.CA
    certificate: Path
    key: Path

    def trust(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        return context


def settings(files: Files, **changes: Any) -> RelaySettings:
    values: dict[str, Any] = {
        "database_url": "postgresql://app@127.0.0.1:1/none",
        "queue_url": "https://sqs.invalid/queue",
        "body_bucket": "bodies",
        "relay_host": "127.0.0.1",
        "relay_starttls_port": 0,
        "relay_tls_port": 0,
        "relay_hostname": "relay.test",
        "relay_certificate_file": str(files.certificate),
        "relay_private_key_file": str(files.key),
        "relay_grace_seconds": 0,
        "relay_drain_seconds": 5,
        "relay_idle_drain_seconds": 0,
        "relay_max_sessions_per_address": 0,
        "relay_max_sessions_per_account": 0,
        "relay_connections_per_minute": 0,
    }
    return RelaySettings(**values | changes)


@asynccontextmanager
async def relay(
    files: Files, shedding: Load | None = None, store: BodyStore | None = None, **changes: Any
) -> AsyncIterator[Running]:
    served = changes.pop("served", None)
    chosen = settings(files, **changes)
    queue, bodies, accounts, registry = Queue(), Bodies(), Accounts(), CollectorRegistry()
    budget, metrics = Budget(chosen.relay_max_bytes_in_flight), RelayMetrics(registry)
    metrics.bytes_in_flight.set_function(lambda: budget.held)
    certificates = served or read_certificates(chosen)
    intake = Intake(queue, store or bodies, budget, chosen.relay_accept_timeout_seconds)
    # Without an address it is always away.
    cache = Cache(chosen, Aws("eu-central-1"))
    guard = Guard(cache, Rules(chosen.relay_connections_per_minute, chosen.relay_exempt_networks))
    quotas, lists = Quotas(cache, metrics.quota_refusals), Lists()
    suppressions = SuppressionLists(lists)
    doorkeeper = Doorkeeper(accounts, KEY, chosen.relay_credential_cache_seconds)
    house = House(
        chosen, certificates, doorkeeper, guard, quotas, suppressions, intake, Transcripts(lambda *_: None), metrics
    )
    peers: list[Peer] = []
    try:
        async with intake.running(), suppressions.running(), RelayServer(house, shedding).listening() as server:
            yield Running(server, house, queue, bodies, accounts, registry, files.trust(), peers, lists)
    finally:
        for peer in peers:
            peer.writer.transport.abort()


def content_of(job: Job) -> bytes:
    """The client's octets in a job: what follows our Received header."""
    assert isinstance(job.body, bytes)
    match = re.match(rb"Received: [^\r]*\r\n(?:\t[^\r]*\r\n)*", job.body)
    assert match
    return job.body[match.end() :]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until something is so."""
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the relay has no event for each thing a test may wait for
            await asyncio.sleep(0.005)
