"""What an operator orders of a message that is under way: let it go, send it once more or no more, or hold it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from backing.postgres.pool import Connection
from backing.postgres.sql import statements
from mail.routing.domains import Domains, domain_of
from mail.states import ORDERS, REROUTED, SETTLED, DeliveryState, Order, State

SQL = statements(__file__)

_WORDS: Final[Mapping[Order, str]] = {
    Order.RELEASE: "released by an operator",
    Order.RETRY: "sent once more by an operator",
    Order.CANCEL: "cancelled by an operator",
    Order.HOLD: "held by an operator",
}
# Nobody looks at work that stands so; work that waits goes on waiting, and is only woken.
_ASLEEP: Final = frozenset({DeliveryState.HELD, DeliveryState.DONE})


class NotPossible(Exception):  # noqa: N818 - a fact about a message
    """The order cannot be carried out; says why, and nothing was changed."""


class UnknownMessage(NotPossible):
    """There is no such message, or it is another account's."""


@dataclass(frozen=True, slots=True)
class _Work:
    """A delivery of the message."""

    id: UUID
    account_id: UUID
    state: DeliveryState
    stored: bool


@dataclass(frozen=True, slots=True)
class _Recipient:
    n: int
    state: State
    delivery_id: UUID


async def carry_out(
    connection: Connection, order: Order, message_id: UUID, n: int | None = None, account_id: UUID | None = None
) -> list[int]:
    """Carry out an order in the transaction of a connection; gives the numbers of the recipients that it changed.

    Args:
        connection: in a transaction.
        order: what is to be done.
        message_id: whose recipients.
        n: of which one, or None for all that the order is for.
        account_id: whose message it has to be, or None for anyone's.

    Raises:
        NotPossible: it cannot be done, or not now.
    """
    works = await _locked(connection, message_id, account_id)
    values = {"id": message_id, "account_id": works[0].account_id}
    rows = await _rows(connection, "standing", values)
    recipients = [_Recipient(row[0], State(row[1]), row[2]) for row in rows]
    fitting, after = ORDERS[order]
    chosen = _chosen(order, fitting, message_id, recipients, n)
    moved = {"words": _WORDS[order], "released": order is Order.RELEASE, "through": None}
    return await _move(connection, message_id, works, recipients, _Step([each.n for each in chosen], after, moved))


async def reroute(
    connection: Connection, provider: str, message_id: UUID, n: int | None = None, account_id: UUID | None = None
) -> list[int]:
    """Send what is left of a message through another provider, as `carry_out`; rules go on to say what else is done.

    Args:
        connection: in a transaction.
        provider: its name.
        message_id: whose recipients.
        n: of which one, or None for all that wait or are held.
        account_id: whose message it has to be, or None for anyone's.

    Raises:
        NotPossible: it cannot be done, or not now.
    """
    works = await _locked(connection, message_id, account_id)
    values = {"id": message_id, "account_id": works[0].account_id}
    recipients = [_Recipient(row[0], State(row[1]), row[2]) for row in await _rows(connection, "standing", values)]
    chosen = _chosen("reroute", REROUTED, message_id, recipients, n)
    found = await _rows(connection, "through", {"name": provider, "account_id": works[0].account_id})
    if not found:
        raise NotPossible(f"there is no provider {provider!r} that the account may use and that is enabled")
    through, allowed = found[0]
    ((mail_from,),) = await _rows(connection, "sender", values)
    domain = domain_of(mail_from)
    if allowed is not None and domain and domain not in Domains.of(allowed):
        raise NotPossible(f"provider {provider!r} does not send for {domain}")
    moved = {"words": f"sent through {provider} by an operator", "released": True, "through": through}
    return await _move(
        connection, message_id, works, recipients, _Step([each.n for each in chosen], State.QUEUED, moved)
    )


@dataclass(frozen=True, slots=True)
class _Step:
    """Where some recipients go, and what is written down with it."""

    ns: list[int]
    after: State
    facts: Mapping[str, Any]


async def _move(
    connection: Connection,
    message_id: UUID,
    works: Iterable[_Work],
    recipients: Iterable[_Recipient],
    step: _Step,
) -> list[int]:
    works, recipients, after, ns = list(works), list(recipients), step.after, step.ns
    values = {"id": message_id, "account_id": works[0].account_id}
    again = after is State.QUEUED
    # What is held rests without its copy on the queue, and is to be sent some day.
    if after not in SETTLED and not all(work.stored for work in works):
        what = "sent once more" if again else "held"
        raise NotPossible(f"message {message_id} cannot be {what}: its body is not stored")
    await connection.execute(SQL["move"], values | {"ns": ns, "state": after, "again": again} | dict(step.facts))
    if again:
        await connection.execute(SQL["prolong"], values)
    concerned = {each.delivery_id for each in recipients if each.n in ns}
    for work in works:
        if work.id in concerned:
            mine = [each for each in recipients if each.delivery_id == work.id]
            states = [after if each.n in ns else each.state for each in mine]
            await _put(connection, work, _following(work.state, states), again=again)
    return ns


async def _locked(connection: Connection, message_id: UUID, account_id: UUID | None) -> list[_Work]:
    """The work on a message, which is nobody's from now on."""
    rows = await _rows(connection, "lock", {"id": message_id, "account_id": account_id})
    works = [_Work(delivery, owner, DeliveryState(state), stored) for delivery, owner, state, stored in rows]
    if not works:
        raise await _nothing_there(connection, message_id, account_id)
    if any(work.state is DeliveryState.SENDING for work in works):
        raise NotPossible(f"message {message_id} is being sent; try again in a moment")
    return works


def _chosen(
    order: str, fitting: frozenset[State], message_id: UUID, recipients: Iterable[_Recipient], n: int | None
) -> list[_Recipient]:
    """The recipients that an order is carried out for."""
    several = [each for each in recipients if n is None or each.n == n]
    if n is not None and not several:
        raise NotPossible(f"message {message_id} has no recipient {n}")
    chosen = [each for each in several if each.state in fitting]
    if not chosen:
        who = f"recipient {n} of message" if n is not None else "every recipient of message"
        stands = ", ".join(sorted({each.state for each in several}))
        wanted = ", ".join(sorted(fitting))
        raise NotPossible(f"{who} {message_id} is {stands}; {order} is for what is {wanted}")
    return chosen


def _following(state: DeliveryState, recipients: Iterable[State]) -> DeliveryState:
    """How the work stands when its recipients do."""
    open_ = {each for each in recipients if each not in SETTLED}
    if not open_:
        return DeliveryState.DONE
    if open_ == {State.HELD}:
        return DeliveryState.HELD
    return DeliveryState.QUEUED if state in _ASLEEP else state


async def _put(connection: Connection, work: _Work, state: DeliveryState, *, again: bool) -> None:
    values = {"delivery_id": work.id, "account_id": work.account_id, "state": state}
    if again:
        await connection.execute(SQL["wake"], values)
    elif state is not work.state:
        await connection.execute(SQL["rest"], values)


async def _nothing_there(connection: Connection, message_id: UUID, account_id: UUID | None) -> NotPossible:
    rows = await _rows(connection, "duplicate", {"id": message_id, "account_id": account_id})
    if not rows:
        return UnknownMessage(f"there is no message {message_id}")
    return NotPossible(f"message {message_id} goes nowhere itself: it is a duplicate of {rows[0][0]}")


async def _rows(
    connection: Connection, statement: str, values: Mapping[str, UUID | str | None]
) -> list[tuple[Any, ...]]:
    return await (await connection.execute(SQL[statement], values)).fetchall()
