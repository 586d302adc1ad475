"""The delivery queue: sending jobs in batches, receiving them under a lease, giving them back or finishing them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import orjson
from aiohttp import ClientError as HttpError
from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from backing.awsjson import JsonService
from mail.errors import Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_sqs import SQSClient

# SendMessageBatch and DeleteMessageBatch: 10 entries; 1 MiB for all bodies of a batch together.
MAX_BATCH = 10
_MAX_ATTRIBUTE = 1000
MAX_BATCH_BYTES = 1_048_576
# What the texts of a batch may have in all; the rest is room for what SQS counts beside them.
MAX_BATCH_TEXT = MAX_BATCH_BYTES - 16_384

FAULTS = (BotoCoreError, ClientError, HttpError, TimeoutError, OSError)


class Outgoing:
    """One message to send: its text, and the account whose fair share of the queue it uses.

    Args:
        text: ASCII without control characters, as `mail.job.encode` writes it.
        group: letters, digits and hyphens.
    """

    __slots__ = ("group", "text")

    def __init__(self, text: str, group: str) -> None:
        self.text = text
        self.group = group

    @property
    def size(self) -> int:
        """Octets that SQS counts."""
        return len(self.text)


@dataclass(frozen=True, slots=True)
class Received:
    """One received message.

    Attributes:
        handle: finishes it.
        receives: how often it came.
        id: SQS's name for it; it keeps the name when SQS moves it to the dead-letter queue.
        group: whose fair share of the queue it used, or None.
        attributes: told by `look` only.
    """

    text: str
    handle: str
    receives: int
    queued_at: datetime
    id: str = ""
    group: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


class Queue:
    """One SQS queue.

    Every method raises `Unavailable` when SQS does not answer as it should; nothing is then known to have happened.

    Args:
        client: makes the calls.
        url: of the queue.
        direct: makes those that are made for every message at a fraction of the client's cost, where it is given.
    """

    def __init__(self, client: "SQSClient", url: str, direct: JsonService | None = None) -> None:
        self._client = client
        self._url = url
        self._direct = direct

    async def send(self, batch: Sequence[Outgoing]) -> list[str | None]:
        """Send up to `MAX_BATCH` messages of `MAX_BATCH_BYTES` in all; per message None, or why SQS refused it."""
        if self._direct is not None:
            answer = await self._direct.call("SendMessageBatch", _document(self._url, batch))
        else:
            answer = await self._call(
                "send_message_batch",
                Entries=[
                    {"Id": str(n), "MessageBody": message.text, "MessageGroupId": message.group}
                    for n, message in enumerate(batch)
                ],
            )
        return _results(answer, len(batch))

    async def put(
        self,
        text: str,
        *,
        delay_seconds: float = 0,
        attributes: Mapping[str, str] | None = None,
        group: str | None = None,
    ) -> None:
        """Send one message as it is, with a delay of up to 15 minutes, attributes of its own, and a group."""
        values = {
            name: {"DataType": "String", "StringValue": _sayable(value)} for name, value in (attributes or {}).items()
        }
        grouped = {"MessageGroupId": group} if group else {}
        await self._call(
            "send_message", MessageBody=text, DelaySeconds=round(delay_seconds), MessageAttributes=values, **grouped
        )

    async def receive(self, most: int, wait_seconds: int, lease_seconds: float) -> list[Received]:
        """Take up to ten messages; they stay hidden from others for `lease_seconds`."""
        answer = await self._often(
            "ReceiveMessage",
            MaxNumberOfMessages=min(most, MAX_BATCH),
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=round(lease_seconds),
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
        )
        return [_received(message) for message in answer.get("Messages", [])]

    async def look(self, most: int, wait_seconds: int, lease_seconds: float) -> list[Received]:
        """Take up to ten messages with all that is known of them, which costs more than what a worker needs."""
        answer = await self._call(
            "receive_message",
            MaxNumberOfMessages=min(most, MAX_BATCH),
            WaitTimeSeconds=wait_seconds,
            VisibilityTimeout=round(lease_seconds),
            MessageSystemAttributeNames=["ApproximateReceiveCount", "SentTimestamp", "MessageGroupId"],
            MessageAttributeNames=["All"],
        )
        return [_received(message) for message in answer.get("Messages", [])]

    async def delete(self, handles: Sequence[str]) -> list[str | None]:
        """Finish up to ten messages; per message None, or why SQS would not."""
        answer = await self._often(
            "DeleteMessageBatch",
            Entries=[{"Id": str(n), "ReceiptHandle": handle} for n, handle in enumerate(handles)],
        )
        return _results(answer, len(handles))

    async def release(self, handles: Sequence[str], delay_seconds: float = 0) -> list[str | None]:
        """Let up to ten messages be received again after a delay, or extend their lease by one."""
        answer = await self._often(
            "ChangeMessageVisibilityBatch",
            Entries=[
                {"Id": str(n), "ReceiptHandle": handle, "VisibilityTimeout": round(delay_seconds)}
                for n, handle in enumerate(handles)
            ],
        )
        return _results(answer, len(handles))

    async def depth(self) -> int:
        """Messages waiting, as SQS estimates them."""
        answer = await self._call("get_queue_attributes", AttributeNames=["ApproximateNumberOfMessages"])
        return int(answer["Attributes"]["ApproximateNumberOfMessages"])

    async def _often(self, operation: str, **arguments: Any) -> dict[str, Any]:
        """Make a call that is made for every few messages."""
        if self._direct is None:
            return await self._call(xform_name(operation), **arguments)
        return await self._direct.call(operation, orjson.dumps({"QueueUrl": self._url, **arguments}))

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = await getattr(self._client, operation)(QueueUrl=self._url, **arguments)
        except FAULTS as fault:
            raise Unavailable(f"SQS {operation}: {type(fault).__name__}: {fault}") from fault
        return answer


def _document(url: str, batch: Sequence[Outgoing]) -> bytes:
    """Write the arguments of SendMessageBatch; `json.dumps` looks at each letter, and takes five times as long."""
    entries = ",".join(
        [
            f'{{"Id":"{n}","MessageGroupId":"{message.group}","MessageBody":"{_quoted(message.text)}"}}'
            for n, message in enumerate(batch)
        ]
    )
    return f'{{"QueueUrl":"{url}","Entries":[{entries}]}}'.encode("ascii")


def _sayable(text: str) -> str:
    """What SQS takes as an attribute: some text, without control characters."""
    return "".join(char if char.isprintable() else " " for char in text)[:_MAX_ATTRIBUTE] or "-"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _results(answer: dict[str, Any], count: int) -> list[str | None]:
    """Order a batch answer by entry; an entry that SQS does not mention was not done."""
    results: list[str | None] = ["not mentioned in the answer"] * count
    for done in answer.get("Successful", []):
        results[int(done["Id"])] = None
    for failed in answer.get("Failed", []):
        results[int(failed["Id"])] = f"{failed['Code']}: {failed.get('Message', '')}"
    return results


def _received(message: dict[str, Any]) -> Received:
    attributes = message["Attributes"]
    return Received(
        text=message["Body"],
        handle=message["ReceiptHandle"],
        receives=int(attributes["ApproximateReceiveCount"]),
        queued_at=datetime.fromtimestamp(int(attributes["SentTimestamp"]) / 1000, UTC),
        id=message.get("MessageId", ""),
        group=attributes.get("MessageGroupId"),
        attributes={name: value.get("StringValue", "") for name, value in message.get("MessageAttributes", {}).items()},
    )
