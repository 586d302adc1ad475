"""Message bodies in S3: the large ones, and those of mail that waits."""

from typing import TYPE_CHECKING
from uuid import UUID

from botocore.exceptions import ClientError

from backing.sqs import FAULTS
from mail.errors import Unavailable
from mail.job import StoredBody

if TYPE_CHECKING:
    from types_aiobotocore_s3 import S3Client


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
        key = f"bodies/{message_id}"
        try:
            await self._client.put_object(Bucket=self._bucket, Key=key, Body=body)
        except FAULTS as fault:
            raise Unavailable(f"S3 PutObject {key}: {type(fault).__name__}: {fault}") from fault
        return StoredBody(self._bucket, key)

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
