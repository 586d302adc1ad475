"""Large bodies on their way into the bucket, against two servers of S3."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aioboto3
import pytest

from backing.aws import Aws
from backing.s3 import PART_OCTETS, Bodies, Upload
from mail.errors import Unavailable
from mail.job import StoredBody

REGION = "eu-central-1"
PIECE = bytes(range(256)) * 4096
pytestmark = pytest.mark.anyio


@pytest.fixture
def aws(aws_url: str, monkeypatch: pytest.MonkeyPatch) -> Aws:
    monkeypatch.setenv("AWS_ENDPOINT_URL", aws_url)
    return Aws(REGION)


class Bucket:
    """A bucket of a test's own, seen from outside."""

    def __init__(self, client: Any, name: str) -> None:
        self.client, self.name = client, name

    async def unfinished(self) -> list[str]:
        answer = await self.client.list_multipart_uploads(Bucket=self.name)
        return [each["Key"] for each in answer.get("Uploads", [])]

    async def objects(self) -> list[str]:
        return [each["Key"] for each in (await self.client.list_objects_v2(Bucket=self.name)).get("Contents", [])]


@asynccontextmanager
async def bucket() -> AsyncIterator[Bucket]:
    session: Any = aioboto3.Session()
    async with session.client("s3", region_name=REGION) as client:
        name = f"b-{uuid.uuid1()}"
        await client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
        yield Bucket(client, name)


async def write(upload: Upload, pieces: int) -> int:
    """Write so many MiB; gives the most that was in memory."""
    most = 0
    for _ in range(pieces):
        await upload.write(PIECE)
        most = max(most, upload.held)
    return most


async def test_a_body_of_any_size_is_stored_as_it_is(aws: Aws) -> None:
    async with bucket() as place, aws.s3() as client, asyncio.TaskGroup() as tasks:
        bodies = Bodies(client, place.name)
        for pieces in (1, 4, 5, 11, 15):
            message = uuid.uuid1()
            upload = bodies.upload(message, tasks)
            most = await write(upload, pieces)
            stored = await upload.complete()
            assert stored == StoredBody(place.name, f"bodies/{message}")
            assert await bodies.get(stored) == PIECE * pieces
            assert most <= 2 * PART_OCTETS
        assert await place.unfinished() == []


async def test_an_upload_that_is_given_up_leaves_nothing(aws: Aws) -> None:
    async with bucket() as place, aws.s3() as client, asyncio.TaskGroup() as tasks:
        for pieces in (0, 3, 5, 12):
            upload = Bodies(client, place.name).upload(uuid.uuid1(), tasks)
            await write(upload, pieces)
            await upload.abort()
            assert upload.held == 0
        assert await place.unfinished() == []
        assert await place.objects() == []


async def test_an_upload_can_be_given_up_before_s3_has_named_it(aws: Aws) -> None:
    async with bucket() as place, aws.s3() as client, asyncio.TaskGroup() as tasks:
        upload = Bodies(client, place.name).upload(uuid.uuid1(), tasks)
        await upload.write(PIECE * 5)
        await asyncio.sleep(0)
        await upload.abort()
        assert await place.unfinished() == []
        assert upload.held == 0


async def test_a_fault_is_told_at_the_next_part_and_at_the_end(aws: Aws) -> None:
    async with aws.s3() as client, asyncio.TaskGroup() as tasks:
        upload = Bodies(client, "no-such-bucket").upload(uuid.uuid1(), tasks)
        await write(upload, 5)
        with pytest.raises(Unavailable, match=r"S3 CreateMultipartUpload bodies/.*NoSuchBucket"):
            await write(upload, 5)
        with pytest.raises(Unavailable, match="S3 CreateMultipartUpload"):
            await upload.complete()
        await upload.abort()
        small = Bodies(client, "no-such-bucket").upload(uuid.uuid1(), tasks)
        await write(small, 1)
        with pytest.raises(Unavailable, match=r"S3 PutObject bodies/.*NoSuchBucket"):
            await small.complete()


async def test_an_upload_whose_parts_are_gone_is_not_complete(aws: Aws) -> None:
    async with bucket() as place, aws.s3() as client, asyncio.TaskGroup() as tasks:
        upload = Bodies(client, place.name).upload(uuid.uuid1(), tasks)
        await write(upload, 10)
        (begun,) = (await place.client.list_multipart_uploads(Bucket=place.name))["Uploads"]
        await place.client.abort_multipart_upload(Bucket=place.name, Key=begun["Key"], UploadId=begun["UploadId"])
        with pytest.raises(Unavailable, match="S3 "):
            await upload.complete()
        assert await place.objects() == []
