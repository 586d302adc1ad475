"""Requests that were made with an Idempotency-Key, each written down in the transaction that carries it out."""

import hashlib
from dataclasses import asdict, dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from backing.postgres.pool import Connection
from backing.postgres.sql import statements

SQL = statements(__file__)
KEPT_SECONDS: Final = 86_400


class RequestRunning(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """The same is being carried out at this moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request that is carried out once.

    Attributes:
        account_id: whose key called; None is an operator's.
        operation: method and route.
        key: what the client calls it.
        fingerprint: digest of all that was asked for.
    """

    account_id: UUID | None
    operation: str
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Answered:
    """How a request was answered.

    Attributes:
        fingerprint: of what was asked for then.
        answer: JSON; None where it had a secret.
        made: what came of it, in words.
        place: where it is, or None where the answer did not say.
    """

    fingerprint: bytes
    status: int
    answer: str | None
    made: str
    place: str | None = None


async def begin(connection: Connection, asked: Asked) -> Answered | None:
    """Begin to carry out a request, in the transaction that does it; or give the answer that it had in the last day.

    Raises:
        RequestRunning: another transaction has begun to, and has not ended.
    """
    values = _values(asked)
    row = await (await connection.execute(SQL["begin"], {"lock": _lock(values)})).fetchone()
    if not row or not row[0]:
        raise RequestRunning
    async with connection.cursor(row_factory=class_row(Answered)) as cursor:
        return await (await cursor.execute(SQL["find"], values)).fetchone()


async def keep(connection: Connection, asked: Asked, answered: Answered) -> None:
    """Write down how it was answered, at the end of that transaction."""
    await connection.execute(SQL["keep"], _values(asked) | asdict(answered) | {"seconds": KEPT_SECONDS})


def _values(asked: Asked) -> dict[str, Any]:
    key = hashlib.sha256(asked.key.encode()).digest()
    return {"account_id": asked.account_id, "operation": asked.operation, "key": key}


def _lock(values: dict[str, Any]) -> int:
    """What PostgreSQL locks, a number of 64 bits; that two requests have the same will not happen."""
    text = f"{values['account_id']}\n{values['operation']}\n".encode()
    return int.from_bytes(hashlib.sha256(text + values["key"]).digest()[:8], "big", signed=True)
