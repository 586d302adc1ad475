"""Events of providers as rows, and back."""

from typing import Any, Final
from uuid import UUID

from backing.ids import now
from mail.events.effects import Effect
from mail.events.event import Bounce, Cause, Kind, ProviderEvent

_AS_IT_IS: Final = ("reason", "code", "enhanced", "text", "n", "provider_message_id", "channel")


def event_row(provider_id: UUID, event: ProviderEvent) -> dict[str, Any]:
    """Write an event as a row to keep, which nobody has looked at yet."""
    details = {
        "bounce": event.bounce,
        "suppress": event.suppress,
        "message_id": text_of(event.message_id),
        **{name: getattr(event, name) for name in _AS_IT_IS},
    }
    return {
        "provider_id": str(provider_id),
        "event_id": event.id,
        "kind": event.kind,
        "address": event.address,
        "occurred_at": event.occurred_at.isoformat(),
        "details": {name: value for name, value in details.items() if value not in {None, ""}},
        "effect": Effect.UNMATCHED,
    }


def call_row(provider_id: UUID, call: str) -> dict[str, Any]:
    """Write down that a call came, so that it comes once."""
    return {
        "provider_id": str(provider_id),
        "event_id": call,
        "kind": "call",
        "address": "",
        "occurred_at": now().isoformat(),
        "details": {},
        "effect": Effect.APPLIED,
    }


def event_of(row: tuple[Any, ...]) -> tuple[UUID, ProviderEvent]:
    """Read an event of a row that was kept, with its provider."""
    provider_id, event_id, kind, address, occurred_at, details = row
    message_id, bounce, suppress = (details.get(name) for name in ("message_id", "bounce", "suppress"))
    event = ProviderEvent(
        id=event_id,
        kind=Kind(kind),
        address=address,
        occurred_at=occurred_at,
        bounce=Bounce(bounce) if bounce else None,
        suppress=Cause(suppress) if suppress else None,
        message_id=UUID(message_id) if message_id else None,
        # Whatever else a newer version has written is its own business.
        **{name: details[name] for name in _AS_IT_IS if name in details},
    )
    return provider_id, event


def text_of(identifier: UUID | None) -> str | None:
    """Write an identifier, where there is one."""
    return str(identifier) if identifier else None
