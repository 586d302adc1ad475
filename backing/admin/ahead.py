"""Which orders are noted for mail that no worker has written down yet, and which are refused."""

from uuid import UUID

from backing.ids import now
from backing.postgres import early, orders, submissions
from backing.postgres.audit import Deed
from backing.postgres.early import EARLY, MOST, Early, Wish, may_come
from backing.postgres.orders import NotPossible, UnknownMessage
from backing.postgres.pool import Connection
from mail.states import ORDERS, Order


async def note(connection: Connection, wish: Wish, account_id: UUID | None, deed: Deed) -> UUID | None:
    """Note an order for a message that is not written down; gives whose it is, where that is known.

    What the HTTP API accepted is known; of what the relay did, nothing is. So an id that may be one is taken for one.

    Args:
        connection: in a transaction that is `early.alone` with the message.
        wish: the order.
        account_id: whose message it has to be, or None for anyone's.
        deed: who orders it.

    Raises:
        UnknownMessage: there can be no such message.
        NotPossible: it cannot be done.
    """
    accepted = await submissions.waiting(connection, wish.message_id, account_id)
    if accepted is None and not may_come(wish.message_id, now()):
        raise _unknown(wish)
    owner = accepted.account_id if accepted else account_id
    before = await early.waiting(connection, wish.message_id, account_id)
    if wish.what not in EARLY or (wish.what == Order.RELEASE and not any(each.what == Order.HOLD for each in before)):
        raise _nothing_to_do(wish) if accepted else _unknown(wish)
    if before and _same(before[-1], wish, owner):
        return owner
    if owner and wish.provider is not None:
        await orders.usable(connection, wish.provider, owner)
    if not await early.room(connection, owner):
        raise NotPossible(f"{MOST} orders wait for messages that no worker has seen; more are not noted")
    await early.note(connection, wish, owner, deed)
    return owner


def _same(noted: Early, wish: Wish, owner: UUID | None) -> bool:
    return (noted.what, noted.n, noted.provider, noted.account_id) == (wish.what, wish.n, wish.provider, owner)


def _unknown(wish: Wish) -> UnknownMessage:
    return UnknownMessage(f"there is no message {wish.message_id}")


def _nothing_to_do(wish: Wish) -> NotPossible:
    fitting = ", ".join(sorted(ORDERS[Order(wish.what)][0]))
    return NotPossible(
        f"message {wish.message_id} is queued, and no worker has it yet; {wish.what} is for what is {fitting}"
    )
