"""What tests of the worker set up: jobs, accounts, settings, and queries of what came out."""

import functools
import hashlib
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from psycopg.types.json import Jsonb

from backing.aws import Aws
from backing.ids import new_id
from backing.postgres.deliveries import Deliveries
from backing.postgres.pool import Database
from backing.settings import Settings
from mail.job import Job, Recipient, StoredBody, encode

PASSED_ON = ("AWS_", "PG", "PATH", "HOME", "COV")
ACCOUNT = UUID("01890000-0000-7000-8000-00000000000a")
BODY = b"From: a@shop.example\r\nSubject: hello\r\n\r\n.hidden dot\r\n..two\r\nend\r\n"


@functools.cache
def shared_session() -> AioSession:
    """One for all that tests ask themselves: to make one takes longer than to ask."""
    return get_session()


def make_job(*recipients: str, body: bytes = BODY, **changes: Any) -> Job:
    job = Job(
        id=new_id(),
        account_id=ACCOUNT,
        credential_id=None,
        session="s-1",
        mail_from="a@shop.example",
        recipients=tuple(Recipient(address) for address in recipients or ("b@far.example",)),
        accepted_at=datetime.now(UTC),
        dedupe=None,
        header_message_id="<1@shop.example>",
        sha256=hashlib.sha256(body).digest(),
        size=len(body),
        body=body,
    )
    return job._replace(**changes)


@dataclass(frozen=True, slots=True)
class Books:
    """The rows of a test's database."""

    url: str

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

    def account(self, config: dict[str, Any] | None, on_unknown: str = "resend", **provider: Any) -> UUID | None:
        """Make the account of `make_job`, with an SMTP provider unless `config` is None; it wants no reports."""
        self.run(
            "INSERT INTO account (id, name, allowed_domains, on_unknown, send_dsn)"
            " VALUES (%s, 'shop', '{shop.example}', %s, false)",
            ACCOUNT,
            on_unknown,
        )
        if config is None:
            return None
        provider_id = new_id()
        self.run(
            "INSERT INTO provider (id, account_id, name, kind, config, enabled) VALUES (%s, %s, 'main', %s, %s, %s)",
            provider_id,
            ACCOUNT,
            provider.get("kind", "smtp"),
            Jsonb(config),
            provider.get("enabled", True),
        )
        self.run("UPDATE account SET default_provider_id = %s WHERE id = %s", provider_id, ACCOUNT)
        return provider_id

    def recipients(self, message: UUID) -> list[tuple[Any, ...]]:
        return self.run("SELECT n, state, code FROM recipient WHERE message_id = %s ORDER BY n", message)

    def delivery(self, message: UUID) -> tuple[Any, ...]:
        rows = self.run(
            "SELECT state, attempts, (SELECT max(tries) FROM recipient WHERE delivery_id = delivery.id), lease_token"
            " FROM delivery WHERE message_id = %s",
            message,
        )
        return rows[0] if rows else ()

    def attempts(self, message: UUID) -> list[tuple[Any, ...]]:
        return self.run("SELECT n, outcome, code FROM attempt WHERE delivery_id = %s ORDER BY n", message)

    def states(self) -> list[str]:
        return [row[0] for row in self.run("SELECT state FROM delivery ORDER BY id")]

    def hurry(self) -> None:
        """Let everything that waits be due now."""
        for table in ("delivery", "recipient"):
            self.run(f"UPDATE {table} SET next_attempt_at = now() WHERE next_attempt_at > now()")  # noqa: S608
        self.run("UPDATE delivery SET dispatch_at = now() WHERE dispatch_at > now()")

    def lose_leases(self) -> None:
        """Let every lease be over."""
        self.run("UPDATE delivery SET lease_until = now() - interval '1 second' WHERE state = 'sending'")


@asynccontextmanager
async def ledger_of(
    url: str, owner: str = "w1", lease: float = 60, expiry: float = 172_800, acquire: float = 5
) -> AsyncIterator[Deliveries]:
    settings = Settings(database_url=url, database_acquire_timeout_seconds=acquire)
    async with Database(settings, Aws(settings.aws_region)).opened() as database:
        yield Deliveries(database, owner, lease, expiry)


@dataclass(frozen=True, slots=True)
class Post:
    """The queue and the bucket of a test."""

    endpoint: str
    queue_url: str
    bucket: str

    @asynccontextmanager
    async def sqs(self) -> AsyncIterator[Any]:
        async with shared_session().create_client(
            "sqs",
            region_name="eu-central-1",
            endpoint_url=self.endpoint,
            config=AioConfig(read_timeout=30, retries={"total_max_attempts": 1}),
        ) as client:
            yield client

    async def put(self, *jobs: Job | str) -> None:
        async with self.sqs() as sqs:
            for each in jobs:
                text = each if isinstance(each, str) else encode(each)
                await sqs.send_message(QueueUrl=self.queue_url, MessageBody=text, MessageGroupId=str(ACCOUNT))

    async def counts(self) -> tuple[int, int]:
        """Messages that wait, and messages in flight."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        async with self.sqs() as sqs:
            answer = await sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=names)
        return int(answer["Attributes"][names[0]]), int(answer["Attributes"][names[1]])

    def stored_job(self, job: Job) -> Job:
        """The same job with its body in the bucket."""
        return job._replace(body=StoredBody(self.bucket, f"bodies/{job.id}"))

    async def store(self, key: str, body: bytes) -> None:
        async with shared_session().create_client("s3", region_name="eu-central-1", endpoint_url=self.endpoint) as s3:
            await s3.put_object(Bucket=self.bucket, Key=key, Body=body)

    async def delayed(self) -> int:
        """Messages that the queue does not show yet."""
        name = "ApproximateNumberOfMessagesDelayed"
        async with self.sqs() as sqs:
            answer = await sqs.get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=[name])
        return int(answer["Attributes"][name])

    async def set_aside_after(self, receives: int) -> str:
        """Give the queue a dead-letter queue; tell its URL."""
        async with self.sqs() as sqs:
            name = f"{self.bucket}-aside"
            aside = (await sqs.create_queue(QueueName=name))["QueueUrl"]
            answer = await sqs.get_queue_attributes(QueueUrl=aside, AttributeNames=["QueueArn"])
            policy = {"deadLetterTargetArn": answer["Attributes"]["QueueArn"], "maxReceiveCount": receives}
            await sqs.set_queue_attributes(QueueUrl=self.queue_url, Attributes={"RedrivePolicy": json.dumps(policy)})
        return str(aside)

    async def aside(self) -> dict[str, str | None]:
        """What lies in the dead-letter queue, with the reasons."""
        async with self.sqs() as sqs:
            url = (await sqs.get_queue_url(QueueName=f"{self.bucket}-aside"))["QueueUrl"]
            answer = await sqs.receive_message(
                QueueUrl=url, MaxNumberOfMessages=10, VisibilityTimeout=0, MessageAttributeNames=["All"]
            )
        return {
            message["Body"]: message.get("MessageAttributes", {}).get("Reason", {}).get("StringValue")
            for message in answer.get("Messages", [])
        }

    async def stored(self) -> list[str]:
        async with shared_session().create_client("s3", region_name="eu-central-1", endpoint_url=self.endpoint) as s3:
            answer = await s3.list_objects_v2(Bucket=self.bucket)
        return [each["Key"] for each in answer.get("Contents", [])]


def environment(url: str, post: Post, **changes: str) -> dict[str, str]:
    """The environment of a worker of this test, with short times; but a lease outlasts a machine that stands still."""
    return {
        **{key: value for key, value in os.environ.items() if key.startswith(PASSED_ON)},  # noqa: TID251
        "AWS_ENDPOINT_URL": post.endpoint,
        "AWS_REGION": "eu-central-1",
        "DATABASE_URL": url,
        "QUEUE_URL": post.queue_url,
        "BODY_BUCKET": post.bucket,
        "HEALTH_HOST": "127.0.0.1",
        "HEALTH_PORT": "0",
        "PROVIDER_ALLOWED_NETWORKS": "127.0.0.0/8 ::1",
        "WORKER_POLL_SECONDS": "1",
        "WORKER_LEASE_SECONDS": "20",
        "WORKER_RETRY_SECONDS": "[1, 1]",
        "WORKER_UNKNOWN_SECONDS": "1",
        "WORKER_DISPATCH_SECONDS": "0.1",
        **changes,
    }
