"""Events of providers in PostgreSQL: kept once, matched with their recipients, and what follows of them."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from backing.ids import now
from backing.postgres import suppressions
from backing.postgres.eventrows import call_row, event_of, event_row, text_of
from backing.postgres.pool import Connection, Database
from backing.postgres.sql import statements
from mail.accounts import Suppression
from mail.events.effects import Effect, effect
from mail.events.event import STATE_AFTER, Cause, Kind, ProviderEvent
from mail.states import SETTLED, State

SQL = statements(__file__)

# How long an event may be ahead of what it is about: a result that waits for the database, and mail that is deferred.
_UNMATCHED_SECONDS: Final = 3_600
_WAITING_SECONDS: Final = 7 * 86_400
_SETTLED: Final = sorted(SETTLED)

# Events of one provider each.
Batch = Sequence[tuple[UUID, ProviderEvent]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """What became of an event.

    Attributes:
        account_id, message_id, n: whose mail it is about, and which recipient; None while that is not known.
        before: how the recipient stood.
        after: how it stands now; the same where the event changed nothing.
        suppressed: whether its address was put on the account's suppression list.
    """

    provider_id: UUID
    event: ProviderEvent
    effect: Effect
    account_id: UUID | None = None
    message_id: UUID | None = None
    n: int | None = None
    before: State | None = None
    after: State | None = None
    suppressed: bool = False


# Called in the same transaction with what became of events, for whoever passes them on.
Tell = Callable[[Connection, Sequence[Recorded]], Awaitable[None]]


@dataclass(slots=True)
class _Recipient:
    """A recipient while events move it."""

    account_id: UUID
    was: State
    provider_id: UUID | None
    address: str
    delivery_id: UUID
    in_hand: bool
    stream: str
    state: State
    moved_by: tuple[UUID, ProviderEvent] | None = None


@dataclass(frozen=True, slots=True)
class _Match:
    provider: str
    account_id: UUID
    message_id: UUID
    n: int
    delivery_id: UUID


class Events:
    """Keeps what providers tell.

    Every method raises `Unavailable` when the database does not answer; every one may be repeated.

    Args:
        database: where recipients are.
        tell: told in the same transaction what became of events; one that was told before is not told again.
    """

    def __init__(self, database: Database, tell: Tell | None = None) -> None:
        self._database = database
        self._tell = tell

    async def record(
        self, provider_id: UUID, events: Sequence[ProviderEvent], call: str | None = None
    ) -> list[Recorded]:
        """Keep a provider's events and do what follows of them, all or nothing.

        Args:
            provider_id: whose they are.
            events: in any order; each counts once.
            call: key of the call that brought them, as `mail.events.verify` gives it; a call that came before tells
                nothing new.
        """
        fresh = {event.id: event for event in events}
        async with self._database.transaction() as connection:
            if call is not None and not await _keep(connection, [call_row(provider_id, call)]):
                fresh = {}
            kept = await _keep(connection, [event_row(provider_id, event) for event in fresh.values()])
            done = await self._settle(connection, [(provider_id, fresh[key]) for key in sorted(kept)])
        known = {recorded.event.id: recorded for recorded in done}
        # The second of two in one batch is a duplicate, too: it finds nothing left.
        return [
            known.pop(event.id, Recorded(provider_id=provider_id, event=event, effect=Effect.DUPLICATE))
            for event in events
        ]

    async def rematch(self, most: int) -> list[Recorded]:
        """Look again at events that came too early, at most so many; any number of processes may do so at a time."""
        async with self._database.transaction() as connection:
            cursor = await connection.execute(SQL["pending"], {"most": most})
            return await self._settle(connection, [event_of(row) for row in await cursor.fetchall()])

    async def forget(self, age_seconds: float, most: int) -> int:
        """Remove what came so long ago; gives how much. Calls may come again for a day (`verify.MAX_AGE`)."""
        async with self._database.statement() as connection:
            return (await connection.execute(SQL["forget"], {"age": age_seconds, "most": most})).rowcount

    async def ses_providers(self, events: Sequence[ProviderEvent]) -> list[UUID | None]:
        """Give the SES provider that each event is of, or None where none can be told."""
        rows = [
            {"k": k, "channel": event.channel, "message_id": text_of(event.message_id)}
            for k, event in enumerate(events)
        ]
        async with self._database.statement() as connection:
            cursor = await connection.execute(SQL["ses_providers"], {"events": Jsonb(rows)})
            found: dict[int, UUID | None] = dict(await cursor.fetchall())
        return [found.get(k) for k in range(len(events))]

    async def _settle(self, connection: Connection, batch: Batch) -> list[Recorded]:
        if not batch:
            return []
        matches = await _matches(connection, batch)
        recipients = await _recipients(connection, matches)
        done = _decide(batch, matches, recipients)
        await _write(connection, done, recipients)
        await suppressions.add_all(connection, _suppressions(done, matches, recipients))
        if self._tell:
            await self._tell(connection, done)
        return done


async def _keep(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    cursor = await connection.execute(SQL["record"], {"events": Jsonb(rows)})
    return [row[0] for row in await cursor.fetchall()]


async def _matches(connection: Connection, batch: Batch) -> dict[int, _Match]:
    rows = [
        {
            "k": k,
            "provider_id": str(provider_id),
            "address": event.address,
            "message_id": text_of(event.message_id),
            "n": event.n,
            # What a provider calls its message may have been kept with the brackets of a Message-ID.
            "names": [event.provider_message_id, f"<{event.provider_message_id}>"],
        }
        for k, (provider_id, event) in enumerate(batch)
    ]
    cursor = await connection.execute(SQL["match"], {"events": Jsonb(rows)})
    return {k: _Match(*found) for k, *found in await cursor.fetchall()}


async def _recipients(connection: Connection, matches: dict[int, _Match]) -> dict[tuple[UUID, int], _Recipient]:
    """How the recipients stand once nobody else can change it; the lock comes in a statement of its own before."""
    if not matches:
        return {}
    found = [
        {
            "delivery_id": str(match.delivery_id),
            "account_id": str(match.account_id),
            "message_id": str(match.message_id),
            "n": match.n,
        }
        for match in matches.values()
    ]
    values = {"found": Jsonb(found)}
    async with connection.pipeline():
        await connection.execute(SQL["lock"], values)
        cursor = await connection.execute(SQL["standing"], values)
        rows = await cursor.fetchall()
    return {(row[0], row[1]): _recipient(row) for row in rows}


def _recipient(row: tuple[Any, ...]) -> _Recipient:
    account_id, state, provider_id, address, delivery_id, in_hand, stream = row[2:]
    was = State(state)
    return _Recipient(account_id, was, provider_id, address, delivery_id, in_hand, stream, was)


def _decide(batch: Batch, matches: dict[int, _Match], recipients: dict[tuple[UUID, int], _Recipient]) -> list[Recorded]:
    """Move recipients by their events, the earliest first."""
    done: list[Recorded] = []
    for k, (provider_id, event) in sorted(enumerate(batch), key=lambda item: item[1][1].occurred_at):
        match = matches.get(k)
        recipient = recipients.get((match.message_id, match.n)) if match else None
        if match is None or recipient is None:
            done.append(Recorded(provider_id=provider_id, event=event, effect=Effect.UNMATCHED))
            continue
        before, target = recipient.state, STATE_AFTER[event.kind]
        asked_last = recipient.provider_id in {None, provider_id}
        what = effect(before, target, in_hand=recipient.in_hand, asked_last=asked_last)
        if what is Effect.APPLIED:
            recipient.state, recipient.moved_by = target, (provider_id, event)
        done.append(
            Recorded(
                provider_id=provider_id,
                event=event,
                effect=what,
                account_id=match.account_id,
                message_id=match.message_id,
                n=match.n,
                before=before,
                after=recipient.state,
                suppressed=event.suppress is not None and what is not Effect.WAITING,
            )
        )
    return done


async def _write(
    connection: Connection, done: Sequence[Recorded], recipients: dict[tuple[UUID, int], _Recipient]
) -> None:
    moved = [_moved_row(*key, recipient) for key, recipient in sorted(recipients.items()) if recipient.moved_by]
    resolved = {
        (recipient.delivery_id, recipient.account_id)
        for recipient in recipients.values()
        if recipient.was not in SETTLED and recipient.state in SETTLED
    }
    async with connection.pipeline():
        if moved:
            await connection.execute(SQL["move"], {"moved": Jsonb(moved)})
        if resolved:
            rows = [{"delivery_id": str(delivery), "account_id": str(account)} for delivery, account in resolved]
            await connection.execute(SQL["finish"], {"deliveries": Jsonb(rows), "settled": _SETTLED})
        values = {"noted": Jsonb(list(map(_noted_row, done)))}
        await connection.execute(SQL["note"], values | {"unmatched": _UNMATCHED_SECONDS, "waiting": _WAITING_SECONDS})


def _suppressions(
    done: Sequence[Recorded], matches: dict[int, _Match], recipients: dict[tuple[UUID, int], _Recipient]
) -> list[tuple[UUID, Suppression]]:
    """Addresses not to write to again: by unsubscribing, in the stream of the message; else in every one."""
    providers = {(match.message_id, match.n): match.provider for match in matches.values()}
    found = []
    for each in done:
        if not (each.suppressed and each.event.suppress and each.message_id and each.n is not None):
            continue
        key = (each.message_id, each.n)
        recipient, cause = recipients[key], each.event.suppress
        # A recipient without a domain (`postmaster`) is nobody's address in particular.
        if "@" in recipient.address:
            stream = recipient.stream if cause is Cause.UNSUBSCRIBE else ""
            entry = Suppression(recipient.address, cause, providers[key], now(), stream=stream)
            found.append((recipient.account_id, entry))
    return found


def _moved_row(message_id: UUID, n: int, recipient: _Recipient) -> dict[str, Any]:
    assert recipient.moved_by  # noqa: S101 - only such are written
    provider_id, event = recipient.moved_by
    # A temporary refusal shows that the provider has the message, and is not the last word on it.
    last = event.kind is not Kind.DEFERRED
    return {
        "message_id": str(message_id),
        "n": n,
        "account_id": str(recipient.account_id),
        "state": recipient.state,
        "code": event.code if last else None,
        "enhanced": event.enhanced if last else None,
        "reply": event.text or event.reason or None,
        "provider_id": str(provider_id),
        "provider_message_id": event.provider_message_id,
        "occurred_at": event.occurred_at.isoformat(),
    }


def _noted_row(recorded: Recorded) -> dict[str, Any]:
    return {
        "provider_id": str(recorded.provider_id),
        "event_id": recorded.event.id,
        "account_id": text_of(recorded.account_id),
        "message_id": text_of(recorded.message_id),
        "n": recorded.n,
        "effect": recorded.effect,
    }
