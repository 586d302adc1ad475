"""Events of SendGrid: a list of them for each call.

Source: Twilio SendGrid documentation, "Event Webhook Reference".
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final

from mail.events.bounces import judged
from mail.events.event import BadCall, Cause, Fault, Kind, ProviderEvent, Told
from mail.events.reading import (
    MAX_EVENTS,
    MAX_NAME,
    Fields,
    document,
    enhanced,
    identity,
    reply,
    told,
)

_KINDS: Final = {
    "processed": Kind.ACCEPTED,
    "deferred": Kind.DEFERRED,
    "delivered": Kind.DELIVERED,
    "bounce": Kind.BOUNCED,
    "dropped": Kind.REJECTED,
    "spamreport": Kind.COMPLAINED,
    "unsubscribe": Kind.UNSUBSCRIBED,
    "group_unsubscribe": Kind.UNSUBSCRIBED,
    "open": Kind.OPENED,
    "click": Kind.CLICKED,
}
_CAUSES: Final = {Kind.UNSUBSCRIBED: Cause.UNSUBSCRIBE, Kind.COMPLAINED: Cause.COMPLAINT}
# Reasons for which SendGrid sent nothing, since the address is on a suppression list of its own.
_LISTED: Final = {
    "Bounced Address": Cause.BOUNCE,
    "Spam Reporting Address": Cause.COMPLAINT,
    "Unsubscribed Address": Cause.UNSUBSCRIBE,
}


def parse(body: bytes | str) -> Told:
    """Read one call.

    Raises:
        BadCall: it is none of SendGrid's.
    """
    items = document(body)
    if not isinstance(items, list) or len(items) > MAX_EVENTS:
        raise BadCall(Fault.PROVIDER, f"the call is no list of at most {MAX_EVENTS} events")
    readers: list[Callable[[], Iterable[ProviderEvent] | str]] = [
        partial(_event, item, f"call[{k}]") for k, item in enumerate(items)
    ]
    return told(readers)


def _event(item: object, name: str) -> Iterable[ProviderEvent] | str:
    data = Fields(item, name)
    kind = _KINDS.get(data.word("event"))
    if kind is None:
        return data.word("event")
    event = ProviderEvent(
        id=identity(data.word("sg_event_id", MAX_NAME)),
        kind=kind,
        address=data.address("email"),
        occurred_at=data.time("timestamp"),
        **_facts(kind, data),
        message_id=data.message(),
        n=data.recipient(),
        # The part before the first dot is what the answer to the call named it.
        provider_message_id=data.text("sg_message_id", MAX_NAME).partition(".")[0] or None,
    )
    return [event]


def _facts(kind: Kind, data: Fields) -> dict[str, Any]:
    text = data.text("response") or data.text("reason")
    code, found = reply(text)
    facts: dict[str, Any] = {
        "code": code,
        "enhanced": enhanced(data.text("status")) or found,
        "text": text,
        "reason": data.text("bounce_classification", MAX_NAME) or data.text("type", MAX_NAME),
        "suppress": _CAUSES.get(kind),
    }
    if kind is Kind.BOUNCED:
        facts["bounce"], facts["suppress"] = judged(hard=data.text("type") != "blocked", enhanced=facts["enhanced"])
    elif kind is Kind.REJECTED:
        facts["suppress"] = _LISTED.get(data.text("reason"))
    return facts
