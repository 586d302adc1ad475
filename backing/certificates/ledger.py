"""A lock that remembers: one run at a time, and what a run learnt is there for the next one."""

import asyncio
import fcntl
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

from botocore.exceptions import ClientError

from backing.certificates.files import KEY_MODE, replace
from backing.ids import new_id, now
from backing.sqs import FAULTS
from mail.errors import Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

# After which a run is taken for dead; one that lives says so before each attempt.
LEASE: Final = timedelta(minutes=45)
# What nobody has asked for in so long is forgotten by the table.
_KEPT: Final = timedelta(days=90)


class Busy(Exception):  # noqa: N818 - a fact about another run
    """Another run holds the lock; says until when at the latest."""


class Ledger(Protocol):
    """One run at a time holds it. All methods raise `Unavailable`."""

    async def look(self) -> str:
        """Give what the last run left; empty where there was none."""
        ...

    async def take(self) -> str:
        """Take the lock, and give what the last run left. Raises `Busy`."""
        ...

    async def save(self, memory: str) -> None:
        """Leave something for the next run, and hold on. Raises `Busy` where the lock was lost."""
        ...

    async def release(self, memory: str) -> None:
        """Leave something for the next run, and let go. Raises `Busy` where the lock was lost."""
        ...


class TableLedger:
    """A lock in a DynamoDB table (`dynamodb:GetItem`, `dynamodb:PutItem`).

    Args:
        client: of the table's region.
        table: its name; its partition key is `id`, a string, its TTL attribute `expires`.
        key: of the item.
        clock: what time it is.
    """

    def __init__(self, client: "DynamoDBClient", table: str, key: str, clock: Callable[[], datetime] = now) -> None:
        self._client = client
        self._table = table
        self._key = key
        self._clock = clock
        self._me = str(new_id())

    async def look(self) -> str:
        """Give what the last run left; empty where there was none."""
        item = await self._get()
        return str(item["memory"]["S"]) if item else ""

    async def take(self) -> str:
        """Take the lock, and give what the last run left. Raises `Busy`."""
        item = await self._get()
        if item is None:
            await self._put("", LEASE, "attribute_not_exists(id)", {})
            return ""
        until = datetime.fromtimestamp(float(item["until"]["N"]), tz=self._clock().tzinfo)
        if until > self._clock():
            raise Busy(f"another run holds {self._key} until {until:%Y-%m-%d %H:%M:%S} UTC at the latest")
        await self._put(item["memory"]["S"], LEASE, "holder = :seen", {":seen": item["holder"]})
        return str(item["memory"]["S"])

    async def save(self, memory: str) -> None:
        """Leave something for the next run, and hold on. Raises `Busy` where the lock was lost."""
        await self._put(memory, LEASE, "holder = :seen", {":seen": {"S": self._me}})

    async def release(self, memory: str) -> None:
        """Leave something for the next run, and let go. Raises `Busy` where the lock was lost."""
        await self._put(memory, timedelta(), "holder = :seen", {":seen": {"S": self._me}})

    async def _get(self) -> dict[str, Any] | None:
        try:
            answer = await self._client.get_item(
                TableName=self._table, Key={"id": {"S": self._key}}, ConsistentRead=True
            )
        except FAULTS as fault:
            raise Unavailable(f"DynamoDB GetItem {self._table}: {type(fault).__name__}: {fault}") from fault
        item: Any = answer.get("Item")
        return dict(item) if item else None

    async def _put(self, memory: str, lease: timedelta, condition: str, values: Mapping[str, Any]) -> None:
        moment = self._clock()
        item: Any = {
            "id": {"S": self._key},
            "holder": {"S": self._me},
            "until": {"N": f"{(moment + lease).timestamp():.3f}"},
            "memory": {"S": memory},
            "expires": {"N": str(int((moment + _KEPT).timestamp()))},
        }
        # DynamoDB takes no empty set of values.
        more: Any = {"ExpressionAttributeValues": values} if values else {}
        try:
            await self._client.put_item(TableName=self._table, Item=item, ConditionExpression=condition, **more)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == "ConditionalCheckFailedException":
                raise Busy(f"another run took {self._key}") from None
            raise Unavailable(f"DynamoDB PutItem {self._table}: {error}") from error
        except FAULTS as fault:
            raise Unavailable(f"DynamoDB PutItem {self._table}: {type(fault).__name__}: {fault}") from fault


class FileLedger:
    """A lock on a file of one machine, which the system lets go with the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = ExitStack()

    async def look(self) -> str:
        """Give what the last run left; empty where there was none."""
        return await asyncio.to_thread(self._read)

    async def take(self) -> str:
        """Take the lock, and give what the last run left. Raises `Busy`."""
        self._file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, KEY_MODE)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Busy(f"another run holds {self._file.with_suffix('.lock')}") from None
        self._lock.callback(os.close, lock)
        return self._read()

    async def save(self, memory: str) -> None:
        """Leave something for the next run, and hold on."""
        try:
            await asyncio.to_thread(replace, self._file, memory.encode(), KEY_MODE)
        except OSError as fault:
            raise Unavailable(f"{self._file} cannot be written: {fault.strerror}") from fault

    async def release(self, memory: str) -> None:
        """Leave something for the next run, and let go."""
        try:
            await self.save(memory)
        finally:
            self._lock.close()

    def _read(self) -> str:
        try:
            return self._file.read_text("utf-8")
        except FileNotFoundError:
            return ""
        except OSError as fault:
            raise Unavailable(f"{self._file} cannot be read: {fault.strerror}") from fault
