"""A local stack whose worker has a processor to itself; stand-ins for its queue and its providers are on the others.

PostgreSQL, Valkey, S3 and KMS are those of the local stack.
"""

import asyncio
import hashlib
import os
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from backing.aws import Aws
from backing.ids import new_id
from backing.sqs import MAX_BATCH, Outgoing, Queue
from bench import machine
from bench.rows import Old
from local import names
from local import stack as stacks
from local.arguments import Options
from local.state import Stack
from mail.job import Job, Recipient, StoredBody, encode

SENDER, RECIPIENT = "me@local.example", "someone@example.net"
_PAUSE = 0.1
# Messages that were delivered before.
_OLD = 50_000


@dataclass(frozen=True, slots=True)
class Site:
    """What runs.

    Attributes:
        takers: where providers are, by kind.
    """

    stack: Stack
    database: "psycopg.Connection[Any]"
    takers: dict[str, Any]
    queue_pid: int

    @property
    def worker(self) -> int:
        """The worker's process."""
        pid = self.stack.parts["worker"].pid
        assert pid
        return pid

    def account(self, name: str, kind: str, config: Mapping[str, object]) -> UUID:
        """Make an account with a provider; gives its id."""
        account = new_id()
        self.database.execute("INSERT INTO account (id, name, allowed_domains) VALUES (%s, %s, '{}')", [account, name])
        self.provide(account, name, kind, config)
        return account

    def provide(self, account: UUID, name: str, kind: str, config: Mapping[str, object]) -> None:
        """Let an account send through a new provider."""
        provider = new_id()
        with self.database.transaction():
            self.database.execute(
                "INSERT INTO provider (id, account_id, name, kind, config) VALUES (%s, %s, %s, %s, %s)",
                [provider, account, name, kind, Jsonb(config)],
            )
            self.database.execute("UPDATE account SET default_provider_id = %s WHERE id = %s", [provider, account])

    def smtp_account(self, name: str) -> UUID:
        """Make an account that sends over kept connections."""
        return self.account(name, "smtp", self.smtp_config())

    def smtp_config(self) -> dict[str, object]:
        """How to send over kept connections."""
        return {
            "host": "127.0.0.1",
            "port": self.takers["smtp"],
            "tls": "none",
            "max_connections": 64,
            "max_messages": 10_000,
        }

    def accepted(self, account: UUID) -> int:
        """How many recipients of an account have their mail."""
        query = "SELECT count(*) FROM recipient WHERE account_id = %s AND state = 'accepted'"
        row = self.database.execute(query, [account]).fetchone()
        assert row
        return int(row[0])

    @contextmanager
    def halted(self) -> Iterator[None]:
        """Let the worker stand still."""
        os.kill(self.worker, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.worker, signal.SIGCONT)


@dataclass(frozen=True, slots=True)
class Line:
    """A queue of the site.

    Attributes:
        url: of the queue.
        queue: what fills it.
        sqs: the SDK's client.
    """

    url: str
    queue: Queue
    sqs: Any

    async def fill(self, jobs: Iterable[Job]) -> None:
        """Put jobs on it, ten by ten, or one by one where ten are too much for a call."""
        batch: list[Outgoing] = []
        for job in jobs:
            batch.append(Outgoing(encode(job), "bench"))
            if len(batch) == MAX_BATCH:
                await self.put(batch)
                batch = []
        if batch:
            await self.put(batch)

    async def put(self, batch: Sequence[Outgoing]) -> None:
        assert await self.queue.send(batch) == [None] * len(batch)

    async def standing(self) -> tuple[int, int]:
        """Messages that wait, and messages in flight."""
        told = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        answer = await self.sqs.get_queue_attributes(QueueUrl=self.url, AttributeNames=list(told))
        waiting, flying = (int(answer["Attributes"][name]) for name in told)
        return waiting, flying

    async def empty(self, seconds: float = 120) -> None:
        """Wait until nothing is on it."""
        deadline = time.monotonic() + seconds
        while sum(await self.standing()):
            if time.monotonic() > deadline:
                raise SystemExit(f"{await self.standing()} messages are still on the queue after {seconds} s")
            await asyncio.sleep(_PAUSE)


@contextmanager
def standing() -> Iterator[Site]:
    """Start it all; it ends with the block."""
    mine, others = machine.cores()
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, others)  # and so do all whom we start
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            machine.program(others, "bench.takers") as takers,
            machine.program(others, "bench.memory_queue") as sqs,
        ):
            url = machine.said(sqs)["url"]
            Path(folder, ".env").write_text(f"AWS_ENDPOINT_URL_SQS={url}\n", "ascii")
            # A worker that stands still for a while is not ill.
            options = Options(state=Path(folder).resolve(), free_ports=True, check_seconds=30)
            with stacks.running(options) as stack, _connected(stack) as database:
                site = Site(stack, database, machine.said(takers), sqs.pid)
                machine.pin(site.worker, mine)
                _tell_sdk(stack, url)
                body = message(10_240)
                nowhere = StoredBody(names.BUCKET, "bodies/old")
                Old(site.smtp_account("bench-old"), _OLD, body, nowhere).fill(database)
                yield site
    finally:
        os.sched_setaffinity(0, before)


@asynccontextmanager
async def line(name: str = names.QUEUE) -> AsyncIterator[Line]:
    """Open the delivery queue, or another one."""
    aws = Aws(names.REGION)
    async with aws.sqs() as sqs, aws.direct_sqs(sqs) as direct:
        url = (await sqs.create_queue(QueueName=name))["QueueUrl"]
        yield Line(url, Queue(sqs, url, direct), sqs)


@asynccontextmanager
async def stored(body: bytes) -> AsyncIterator[StoredBody]:
    """Keep a body in S3, for all who share it."""
    place = StoredBody(names.BUCKET, "bodies/bench")
    async with Aws(names.REGION).s3() as s3:
        await s3.put_object(Bucket=place.bucket, Key=place.key, Body=body)
        yield place


def message(size: int) -> bytes:
    """A message of about so many octets."""
    text = b"x" * 76 + b"\r\n"
    return b"From: <me@local.example>\r\nSubject: Bench\r\n\r\n" + text * (size // len(text))


def jobs(account: UUID, count: int, body: bytes, place: StoredBody | None = None) -> Iterator[Job]:
    """Jobs as the relay writes them, each a message of its own."""
    digest = hashlib.sha256(body).digest()
    for _ in range(count):
        name = new_id()
        yield Job(
            id=name,
            account_id=account,
            credential_id=account,
            session=str(name),
            mail_from=SENDER,
            recipients=(Recipient(RECIPIENT),),
            accepted_at=datetime.now(UTC),
            dedupe=hashlib.sha256(name.bytes).digest(),
            header_message_id=f"<{name}@local.example>",
            sha256=digest,
            size=len(body),
            body=place or body,
        )


def _tell_sdk(stack: Stack, sqs: str) -> None:
    told = {name: value for name, value in stack.environment.items() if name.startswith("AWS_")}
    os.environ |= told | {"AWS_ENDPOINT_URL_SQS": sqs}  # noqa: TID251 - the SDK reads nothing else


@contextmanager
def _connected(stack: Stack) -> "Iterator[psycopg.Connection[Any]]":
    address = stack.environment["DATABASE_URL"]
    with psycopg.connect(address, passfile=stack.environment["PGPASSFILE"], autocommit=True) as database:
        yield database
