"""Orders for mail that no worker has written down yet: noted under its id, and carried out as soon as one has.

The client has the id since its 250 or 202; until a worker receives the job, nothing else is known here. So an id that
nobody accepted, or another account accepted, is noted like any: it never meets a message of that account, and is over
after a while. Writing a message down and noting an order for it exclude each other (`alone`), so that no order is
missed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from psycopg.rows import class_row

from backing.postgres.audit import Deed
from backing.postgres.pool import Connection
from backing.postgres.sql import statements
from mail.ids import made_at
from mail.states import Order

SQL = statements(__file__)
REROUTE: Final = "reroute"
# What makes sense of mail that nobody has tried to send.
EARLY: Final = frozenset({Order.HOLD, Order.CANCEL, Order.RELEASE, REROUTE})
# SQS keeps a message for 14 days at most; clocks differ a little.
KEPT: Final = timedelta(days=14)
AHEAD: Final = timedelta(minutes=5)
# For an account, of messages that are none there would be no end.
MOST: Final = 1000


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be done with a message.

    Attributes:
        what: an order, or `reroute`.
        n: number of the recipient, or None for all that it fits.
        provider: which a reroute goes through, or None for the account's rules.
    """

    what: str
    message_id: UUID
    n: int | None = None
    provider: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Early:
    """A noted order.

    Attributes:
        account_id: whose message it has to be; None is an operator's order.
        actor, request, peer: as in the audit log.
    """

    id: int
    account_id: UUID | None
    what: str
    n: int | None
    provider: str | None
    actor: str
    request: str
    peer: str


def may_come(message_id: UUID, now: datetime) -> bool:
    """Whether a message of this id can still be on its way to a worker: ids tell when they were made."""
    made, at = made_at(message_id), now.timestamp() * 1000
    return made is not None and -KEPT.total_seconds() * 1000 <= made - at <= AHEAD.total_seconds() * 1000


async def alone(connection: Connection, message_id: UUID) -> None:
    """Keep workers from writing a message down until the transaction ends; what they wrote before is seen after it."""
    await connection.execute(SQL["alone"], {"id": message_id})


async def waiting(connection: Connection, message_id: UUID, asked_by: UUID | None) -> list[Early]:
    """What is noted for a message, in its order: an account's own and operators', or for an operator all of it."""
    return await _rows(connection, "waiting", {"id": message_id, "asked_by": asked_by})


async def take(connection: Connection, message_id: UUID, account_id: UUID) -> list[Early]:
    """Take away what is noted for a message that is written down, in its order."""
    found = await _rows(connection, "take", {"id": message_id, "account_id": account_id})
    return sorted(found, key=lambda each: each.id)


async def room(connection: Connection, account_id: UUID | None) -> bool:
    """Whether an account may have one more order noted; operators are counted together."""
    row = await (await connection.execute(SQL["count"], {"account_id": account_id})).fetchone()
    return row is None or row[0] < MOST


async def note(connection: Connection, wish: Wish, account_id: UUID | None, deed: Deed) -> None:
    """Note an order, in a transaction that is `alone` with the message, which is not written down."""
    values = {
        "id": wish.message_id,
        "account_id": account_id,
        "what": wish.what,
        "n": wish.n,
        "provider": wish.provider,
        "actor": deed.actor,
        "request": deed.request,
        "peer": deed.peer,
        # A dead letter that is brought back is as old as it was; a day is for clocks and leap seconds.
        "seconds": (KEPT + timedelta(days=1)).total_seconds(),
    }
    await connection.execute(SQL["note"], values)


async def _rows(connection: Connection, statement: str, values: Mapping[str, Any]) -> list[Early]:
    async with connection.cursor(row_factory=class_row(Early)) as cursor:
        return await (await cursor.execute(SQL[statement], values)).fetchall()
