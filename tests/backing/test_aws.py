"""The AWS services that the doors lean on, against two servers of their APIs."""

import base64
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioboto3
import pytest

from backing.aws import Aws
from backing.s3 import Bodies, BodyMissing
from backing.secrets import BadSecret, Vault, credential_key
from backing.sqs import Outgoing, Queue
from mail.errors import Unavailable
from mail.job import StoredBody

REGION = "eu-central-1"
DEAD_END = "http://127.0.0.1:9"
pytestmark = pytest.mark.anyio


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    return Aws(REGION)


@asynccontextmanager
async def boto(service: str) -> AsyncIterator[Any]:
    session: Any = aioboto3.Session()
    async with session.client(service, region_name=REGION) as client:
        yield client


@asynccontextmanager
async def new_queue(aws: Aws) -> AsyncIterator[Queue]:
    async with boto("sqs") as client:
        url = (await client.create_queue(QueueName=f"q-{uuid.uuid1()}"))["QueueUrl"]
    async with aws.sqs(read_timeout=10) as client:
        yield Queue(client, url)


async def test_a_batch_is_sent_received_released_and_deleted(aws: Aws) -> None:
    async with new_queue(aws) as queue:
        texts = {f"job {n}" for n in range(10)}
        assert await queue.send([Outgoing(text, "account") for text in sorted(texts)]) == [None] * 10
        assert await queue.depth() == 10

        received = await queue.receive(10, 0, 30)
        assert {message.text for message in received} == texts
        assert {message.receives for message in received} == {1}
        assert await queue.receive(10, 0, 30) == []

        assert await queue.release([message.handle for message in received]) == [None] * 10
        again = await queue.receive(10, 0, 30)
        assert {message.text for message in again} == texts
        assert {message.receives for message in again} == {2}

        assert await queue.delete([message.handle for message in again]) == [None] * 10
        assert await queue.depth() == 0


async def test_a_message_of_the_largest_size_passes(aws: Aws) -> None:
    async with new_queue(aws) as queue:
        text = "x" * (1_048_576 - 4096)
        assert await queue.send([Outgoing(text, "account")]) == [None]
        assert [message.text for message in await queue.receive(1, 0, 30)] == [text]


async def test_a_queue_that_is_not_there_is_unavailable(aws: Aws, aws_url: str) -> None:
    async with aws.sqs() as client:
        with pytest.raises(Unavailable, match="SQS send_message_batch"):
            await Queue(client, f"{aws_url}/123456789012/none").send([Outgoing("x", "a")])


async def test_a_server_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", DEAD_END)
    aws = Aws(REGION)
    async with aws.sqs() as sqs, aws.s3() as s3, aws.kms() as kms, aws.secrets() as manager:
        with pytest.raises(Unavailable, match="SQS receive_message: EndpointConnectionError"):
            await Queue(sqs, f"{DEAD_END}/1/q").receive(1, 0, 30)
        with pytest.raises(Unavailable, match=r"S3 PutObject bodies/.*: EndpointConnectionError"):
            await Bodies(s3, "bucket").put(uuid.uuid1(), b"x")
        with pytest.raises(Unavailable, match="S3 GetObject key: EndpointConnectionError"):
            await Bodies(s3, "bucket").get(StoredBody("bucket", "key"))
        with pytest.raises(Unavailable, match="KMS GenerateDataKey: EndpointConnectionError"):
            await Vault(kms, "alias/x").seal(uuid.uuid1(), "secret")
        with pytest.raises(Unavailable, match="Secrets Manager name: EndpointConnectionError"):
            await credential_key(manager, "name")


async def test_a_body_is_kept_as_it_is_and_missed_when_it_is_gone(aws: Aws) -> None:
    body = bytes(range(256)) * 20_000
    async with boto("s3") as client:
        await client.create_bucket(Bucket="bodies", CreateBucketConfiguration={"LocationConstraint": REGION})
    async with aws.s3() as client:
        bodies = Bodies(client, "bodies")
        message = uuid.uuid1()
        place = await bodies.put(message, body)
        assert place == StoredBody("bodies", f"bodies/{message}")
        assert await bodies.get(place) == body
        await bodies.delete(place)
        await bodies.delete(place)
        with pytest.raises(BodyMissing, match=f"bodies/bodies/{message}"):
            await bodies.get(place)


async def test_a_sealed_secret_opens_for_its_own_provider_only(aws: Aws) -> None:
    async with boto("kms") as client:
        key = (await client.create_key())["KeyMetadata"]["KeyId"]
    async with aws.kms() as client:
        vault, provider = Vault(client, key), uuid.uuid1()
        sealed, under = await vault.seal(provider, "geheim ✓")
        assert under.endswith(f":key/{key}")
        assert b"geheim" not in sealed
        assert await vault.open(provider, sealed) == "geheim ✓"
        with pytest.raises((BadSecret, Unavailable)):
            await vault.open(uuid.uuid1(), sealed)
        with pytest.raises((BadSecret, Unavailable)):
            await vault.open(provider, sealed[:-1] + bytes([sealed[-1] ^ 1]))


async def test_the_credential_key_is_base64url_text(aws: Aws) -> None:
    key, names = secrets.token_bytes(32), [f"key-{uuid.uuid1()}" for _ in range(2)]
    text = base64.urlsafe_b64encode(key).decode().rstrip("=")
    async with boto("secretsmanager") as client:
        await client.create_secret(Name=names[0], SecretString=text + "\n")
        await client.create_secret(Name=names[1], SecretString="x")
    async with aws.secrets() as client:
        assert await credential_key(client, names[0]) == key
        with pytest.raises(BadSecret, match=f"secret {names[1]} is not base64url text"):
            await credential_key(client, names[1])
        with pytest.raises(Unavailable, match="Secrets Manager none: ResourceNotFoundException"):
            await credential_key(client, "none")
