"""Message bodies in S3: the large ones, and those of mail that waits."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Final, TypedDict, TypeVar
from uuid import UUID

from botocore.exceptions import ClientError

from backing.sqs import FAULTS
from mail.errors import Unavailable
from mail.job import StoredBody

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client
    from types_aiobotocore_s3.type_defs import CompletedPartTypeDef, ObjectIdentifierTypeDef

# S3 takes no smaller part, but for the last one.
PART_OCTETS: Final = 5 * 1024 * 1024
# Longest time for one call with its retries, and for all that an abort takes.
_CALL_SECONDS: Final = 30.0
_ABORT_SECONDS: Final = 10.0

T = TypeVar("T")


class BodyMissing(Exception):  # noqa: N818 - a fact about a message
    """The stored body is not there; the message can never be delivered."""


class Bodies:
    """The bucket of message bodies.

    Every method raises `Unavailable` when S3 does not answer as it should.
    """

    def __init__(self, client: "S3Client", bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def put(self, message_id: UUID, body: bytes) -> StoredBody:
        """Store a body under its message's id; storing it again replaces it by the same octets."""
        key = _key(message_id)
        try:
            await self._client.put_object(Bucket=self._bucket, Key=key, Body=body)
        except FAULTS as fault:
            raise Unavailable(f"S3 PutObject {key}: {type(fault).__name__}: {fault}") from fault
        return StoredBody(self._bucket, key)

    def upload(self, message_id: UUID, tasks: asyncio.TaskGroup) -> "Upload":
        """Begin to store a body of which the end is not known; its parts travel as tasks of the group."""
        return Upload(self._client, StoredBody(self._bucket, _key(message_id)), tasks)

    async def get(self, place: StoredBody) -> bytes:
        """Fetch a body.

        Raises:
            BodyMissing: there is no such object.
        """
        try:
            answer = await self._client.get_object(Bucket=place.bucket, Key=place.key)
            return await answer["Body"].read()
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") in {"NoSuchKey", "404"}:
                raise BodyMissing(f"{place.bucket}/{place.key}") from error
            raise Unavailable(f"S3 GetObject {place.key}: {error}") from error
        except FAULTS as fault:
            raise Unavailable(f"S3 GetObject {place.key}: {type(fault).__name__}: {fault}") from fault

    async def delete(self, place: StoredBody) -> None:
        """Remove a body that is needed no more; one that is gone already is fine."""
        try:
            await self._client.delete_object(Bucket=place.bucket, Key=place.key)
        except FAULTS as fault:
            raise Unavailable(f"S3 DeleteObject {place.key}: {type(fault).__name__}: {fault}") from fault

    async def delete_all(self, places: Sequence[StoredBody]) -> None:
        """Remove up to 1,000 bodies that are needed no more; those that are gone already are fine."""
        for bucket in {place.bucket for place in places}:
            keys: list[ObjectIdentifierTypeDef] = [{"Key": place.key} for place in places if place.bucket == bucket]
            try:
                answer = await self._client.delete_objects(Bucket=bucket, Delete={"Objects": keys, "Quiet": True})
            except FAULTS as fault:
                raise Unavailable(f"S3 DeleteObjects: {type(fault).__name__}: {fault}") from fault
            for error in answer.get("Errors", []):
                raise Unavailable(f"S3 DeleteObjects {error.get('Key')}: {error.get('Code')}")

    async def archive(self, key: str, content: bytes) -> None:
        """Store an object under a key of its own; storing it again replaces it."""
        try:
            await self._client.put_object(Bucket=self._bucket, Key=key, Body=content, ContentType="application/gzip")
        except FAULTS as fault:
            raise Unavailable(f"S3 PutObject {key}: {type(fault).__name__}: {fault}") from fault


class _Named(TypedDict):
    """The arguments that say which object a call is about."""

    Bucket: str
    Key: str


class Upload:
    """A body that is stored while it comes in: one part in memory, one on its way.

    A body that ends within its first part is stored by one call. Of a process that dies, parts are left behind; the
    bucket's rule for incomplete uploads removes them.

    Args:
        client: the object store.
        place: where the body will lie.
        tasks: whose tasks the parts are.
    """

    def __init__(self, client: "S3Client", place: StoredBody, tasks: asyncio.TaskGroup) -> None:
        self._client = client
        self._place = place
        self._tasks = tasks
        self._id: str | None = None
        self._part = bytearray()
        self._done: list[CompletedPartTypeDef] = []
        self._sending: asyncio.Task[None] | None = None
        self._sending_octets = 0
        self._fault: Unavailable | None = None

    @property
    def held(self) -> int:
        """Octets in memory."""
        return len(self._part) + self._sending_octets

    async def write(self, piece: bytes) -> None:
        """Take the next piece; waits while there are two parts in memory.

        Raises:
            Unavailable: S3 did not take an earlier part.
        """
        self._part += piece
        if len(self._part) >= PART_OCTETS:
            await self._arrived()
            self._sending = self._tasks.create_task(self._send(self._take()))

    async def complete(self) -> StoredBody:
        """Store what is left; gives where the body lies.

        Raises:
            Unavailable: S3 did not take it.
        """
        if self._sending is None:
            await self._call("PutObject", self._client.put_object(**self._named(), Body=self._take()))
            return self._place
        await self._arrived()
        if self._part:
            await self._send(self._take())
            await self._arrived()
        assert self._id  # noqa: S101 - a part has arrived
        await self._call(
            "CompleteMultipartUpload",
            self._client.complete_multipart_upload(
                **self._named(), UploadId=self._id, MultipartUpload={"Parts": self._done}
            ),
        )
        return self._place

    async def abort(self) -> None:
        """Give up; leaves nothing behind that would cost money.

        Raises:
            Unavailable: S3 did not confirm.
        """
        self._part.clear()
        if self._sending is None:
            return
        if self._id:
            self._sending.cancel()
        # Where the upload has no name yet, it is being given one, and without it nothing could be aborted.
        await asyncio.wait([self._sending], timeout=_ABORT_SECONDS)
        self._sending_octets = 0
        if self._id:
            call = self._client.abort_multipart_upload(**self._named(), UploadId=self._id)
            await self._call("AbortMultipartUpload", call, _ABORT_SECONDS)

    async def _arrived(self) -> None:
        """Wait for the part that is on its way, which goes on should the caller be cancelled."""
        if self._sending:
            await asyncio.wait([self._sending])
        if self._fault:
            raise self._fault

    async def _send(self, part: bytes) -> None:
        """Send a part; a fault is kept for whoever writes next."""
        try:
            if self._id is None:
                begun = await self._call("CreateMultipartUpload", self._client.create_multipart_upload(**self._named()))
                self._id = begun["UploadId"]
            number = len(self._done) + 1
            call = self._client.upload_part(**self._named(), UploadId=self._id, PartNumber=number, Body=part)
            self._done.append({"PartNumber": number, "ETag": (await self._call("UploadPart", call))["ETag"]})
        except Unavailable as fault:
            self._fault = fault
        except Exception as fault:  # noqa: BLE001 - not swallowed: the next write raises it
            self._fault = Unavailable(f"S3 {self._place.key}: {type(fault).__name__}: {fault}")
        finally:
            self._sending_octets = 0

    async def _call(self, name: str, call: Awaitable[T], seconds: float = _CALL_SECONDS) -> T:
        try:
            async with asyncio.timeout(seconds):
                return await call
        except FAULTS as fault:
            raise Unavailable(f"S3 {name} {self._place.key}: {type(fault).__name__}: {fault}") from fault

    def _named(self) -> _Named:
        return {"Bucket": self._place.bucket, "Key": self._place.key}

    def _take(self) -> bytes:
        part = bytes(self._part)
        self._part = bytearray()
        self._sending_octets = len(part)
        return part


def _key(message_id: UUID) -> str:
    return f"bodies/{message_id}"
