"""What an operator orders of a message that is under way: let it go, send it once more or no more, or hold it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from backing.postgres import audit, early
from backing.postgres.audit import Deed
from backing.postgres.early import REROUTE, Wish
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


class UnknownRecipient(NotPossible):
    """The message has no recipient of this number."""


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
    return await fulfil(connection, Wish(order, message_id, n), account_id)


async def fulfil(connection: Connection, wish: Wish, account_id: UUID | None) -> list[int]:
    """Carry out an order, or send what is left of a message another way, as `carry_out`.

    Through a provider, rules go on to say what else is done. By the rules, they decide as they stand now, as if nothing
    had been ordered before: they may hold it again.

    Raises:
        NotPossible: it cannot be done, or not now.
    """
    works = await _locked(connection, wish.message_id, account_id)
    # What was ordered earlier comes first, though no worker has come to it yet.
    if await _obeyed(connection, wish.message_id, works[0].account_id):
        works = await _locked(connection, wish.message_id, account_id)
    return await _do(connection, wish, works)


async def obey(connection: Connection, message_id: UUID, account_id: UUID) -> list[str]:
    """Carry out what was ordered of a message before it was written down; gives why some of it could not be.

    Raises:
        NotPossible: it is being sent; what is noted stays so.
    """
    await _locked(connection, message_id, account_id)
    return [why for each in await _obeyed(connection, message_id, account_id) if (why := each)]


async def owner(connection: Connection, message_id: UUID) -> UUID | None:
    """Whose a message is, as an operator may ask; None where there is none."""
    rows = await _rows(connection, "owner", {"id": message_id, "account_id": None})
    return rows[0][0] if rows else None


async def usable(connection: Connection, provider: str, account_id: UUID) -> tuple[UUID, list[str] | None]:
    """Give the id of a provider that mail of an account can be sent through, and the domains that it is for.

    Raises:
        NotPossible: there is none of this name.
    """
    found = await _rows(connection, "through", {"name": provider, "account_id": account_id})
    if not found:
        raise NotPossible(f"there is no provider {provider!r} that the account may use and that is enabled")
    return found[0][0], found[0][1]


async def _obeyed(connection: Connection, message_id: UUID, account_id: UUID) -> list[str]:
    """Carry out what is noted, and say of each why it could not be, or nothing."""
    said: list[str] = []
    for each in await early.take(connection, message_id, account_id):
        wish = Wish(each.what, message_id, each.n, each.provider)
        try:
            await _do(connection, wish, await _locked(connection, message_id, account_id))
        except NotPossible as why:
            said.append(f"{each.what}: {why}")
            continue
        said.append("")
        if each.account_id is None:
            # When it was ordered, nobody knew whose it is.
            deed = Deed(
                account=None,
                actor=each.actor,
                action=f"message.{each.what}",
                subject=str(message_id),
                request=each.request,
                peer=each.peer,
            )
            await audit.note(connection, deed, account_id)
    return said


async def _do(connection: Connection, wish: Wish, works: list[_Work]) -> list[int]:
    values = {"id": wish.message_id, "account_id": works[0].account_id}
    rows = await _rows(connection, "standing", values)
    recipients = [_Recipient(row[0], State(row[1]), row[2]) for row in rows]
    fitting, after = (REROUTED, State.QUEUED) if wish.what == REROUTE else ORDERS[Order(wish.what)]
    ns = [each.n for each in _chosen(wish.what, fitting, wish.message_id, recipients, wish.n)]
    facts = await _another_way(connection, wish, values) if wish.what == REROUTE else _facts(Order(wish.what))
    return await _move(connection, wish.message_id, works, recipients, _Step(ns, after, {"ordered": wish.what} | facts))


def _facts(order: Order) -> dict[str, Any]:
    return {"words": _WORDS[order], "released": order is Order.RELEASE, "through": None, "by_rules": False}


async def _another_way(connection: Connection, wish: Wish, values: Mapping[str, UUID]) -> dict[str, Any]:
    """Find where a message is to go that is sent another way."""
    if wish.provider is None:
        words = "routed again by an operator"
        return {"words": words, "released": False, "through": None, "by_rules": True}
    through, allowed = await usable(connection, wish.provider, values["account_id"])
    ((mail_from,),) = await _rows(connection, "sender", values)
    domain = domain_of(mail_from)
    if allowed is not None and domain and domain not in Domains.of(allowed):
        raise NotPossible(f"provider {wish.provider!r} does not send for {domain}")
    words = f"sent through {wish.provider} by an operator"
    return {"words": words, "released": True, "through": through, "by_rules": False}


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
    # As long as there is work, the queue has a copy of what is not stored; it brings that back, to be stored or sent.
    if again and any(work.state is DeliveryState.DONE and not work.stored for work in works):
        raise NotPossible(f"message {message_id} cannot be sent once more: its body is not stored")
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
        raise UnknownRecipient(f"message {message_id} has no recipient {n}")
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
        await connection.execute(SQL["wake"], values | {"stored": work.stored})
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
