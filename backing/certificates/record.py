"""What anybody may know of a certificate: its renewer writes it, the API tells it, and no key is in it."""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import AwareDatetime, TypeAdapter, ValidationError

from backing.certificates.material import date_fault, read_leaf
from backing.sqs import FAULTS
from mail.errors import Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_dynamodb import DynamoDBClient

# What came of a run; `imported` is a certificate from elsewhere that was put in its place by hand.
Result = Literal["renewed", "kept", "waiting", "busy", "failed", "imported"]
# Before the host name in the keys of items, which locks are in the same table as.
PREFIX: Final = "certificate#"


@dataclass(frozen=True, slots=True)
class Record:
    """How a certificate stood at the end of the last run that looked after it.

    Attributes:
        host: the first of the names that it is wanted for, which stands for all of them.
        names: host names that it has.
        version: of the secret that it is kept in; None in files.
        fault: why relays do not serve it; None where they do.
        due_at: when a new one is or was wanted.
        due_because: what makes it due then, in words.
        checked_at: end of the run.
        failures: attempts that failed since the last good one.
        failure: what the last of them said; None where there is none.
    """

    host: str
    names: tuple[str, ...] = ()
    version: str | None = None
    not_before: AwareDatetime | None = None
    not_after: AwareDatetime | None = None
    issuer: str | None = None
    source: str | None = None
    fault: str | None = None
    due_at: AwareDatetime | None = None
    due_because: str | None = None
    checked_at: AwareDatetime | None = None
    result: Result | None = None
    failures: int = 0
    failure: str | None = None

    def at(self, now: datetime) -> "Record":
        """Give it as it stands now: it may have expired since."""
        if self.fault or not (self.not_before and self.not_after):
            return self
        return replace(self, fault=date_fault(self.not_before, self.not_after, now))

    def of(self, chain: bytes) -> "Record":
        """Give it with what a certificate says of itself.

        Args:
            chain: PEM, the server's certificate first.

        Raises:
            BadCertificate: it is none.
        """
        leaf = read_leaf(chain)
        names, begins, ends = tuple(sorted(leaf.names)), leaf.begins_at, leaf.expires_at
        return replace(self, names=names, not_before=begins, not_after=ends, issuer=leaf.issuer)


_ADAPTER: Final = TypeAdapter(Record)


def encode(record: Record) -> str:
    """Write a record as JSON."""
    return _ADAPTER.dump_json(record).decode()


def decode(text: str) -> Record | None:
    """Read a record; None where it is none."""
    try:
        return _ADAPTER.validate_json(text)
    except ValidationError:
        return None


class TableText:
    """The record of one certificate in a DynamoDB table, which keeps it (`dynamodb:GetItem`, `dynamodb:PutItem`).

    Args:
        client: of the table's region.
        table: its name; its partition key is `id`, a string.
        host: of the record.
    """

    def __init__(self, client: "DynamoDBClient", table: str, host: str) -> None:
        self._client = client
        self._table = table
        self._id = f"{PREFIX}{host}"

    async def read(self) -> str | None:
        """Give it; None where there is none yet.

        Raises:
            Unavailable: DynamoDB did not answer as it should, or does not let us.
        """
        try:
            answer = await self._client.get_item(TableName=self._table, Key={"id": {"S": self._id}})
        except FAULTS as fault:
            raise Unavailable(f"DynamoDB GetItem {self._table}: {type(fault).__name__}: {fault}") from fault
        item: Any = answer.get("Item")
        return str(item["record"]["S"]) if item else None

    async def write(self, text: str) -> None:
        """Put another in its stead.

        Raises:
            Unavailable: DynamoDB did not answer as it should, or does not let us.
        """
        try:
            item: Any = {"id": {"S": self._id}, "record": {"S": text}}
            await self._client.put_item(TableName=self._table, Item=item)
        except FAULTS as fault:
            raise Unavailable(f"DynamoDB PutItem {self._table}: {type(fault).__name__}: {fault}") from fault
