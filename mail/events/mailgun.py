"""Events of Mailgun: one for each call.

Source: Mailgun documentation, "Webhook Payloads" and "Event structure".
"""

from collections.abc import Iterable
from typing import Any, Final

from mail.events.bounces import judged
from mail.events.event import Cause, Kind, ProviderEvent, Told
from mail.events.reading import (
    MAX_NAME,
    Fields,
    bare,
    document,
    enhanced,
    identity,
    reply,
    told,
    whole,
)

_KINDS: Final = {
    "accepted": Kind.ACCEPTED,
    "delivered": Kind.DELIVERED,
    "rejected": Kind.REJECTED,
    "opened": Kind.OPENED,
    "clicked": Kind.CLICKED,
    "unsubscribed": Kind.UNSUBSCRIBED,
    "complained": Kind.COMPLAINED,
}
_CAUSES: Final = {Kind.UNSUBSCRIBED: Cause.UNSUBSCRIBE, Kind.COMPLAINED: Cause.COMPLAINT}
# Reasons of a failure for which Mailgun sent nothing, since the address is on a suppression list of its own.
_LISTED: Final = {
    "suppress-bounce": Cause.BOUNCE,
    "suppress-complaint": Cause.COMPLAINT,
    "suppress-unsubscribe": Cause.UNSUBSCRIBE,
}


def parse(body: bytes | str) -> Told:
    """Read one call.

    Raises:
        BadCall: it is none of Mailgun's.
    """
    call = whole(document(body), "call")
    return told([lambda: _event(call.object("event-data"))])


def _event(data: Fields) -> Iterable[ProviderEvent] | str:
    name = data.word("event")
    status = data.object("delivery-status")
    if name == "failed":
        facts = _failure(data, status)
    elif name in _KINDS:
        facts = {"kind": _KINDS[name], "suppress": _CAUSES.get(_KINDS[name])}
    else:
        return name
    at, variables = data.time("timestamp"), data.object("user-variables")
    event = ProviderEvent(
        # Mailgun's own is unique within a day.
        id=identity(data.word("id", MAX_NAME), at),
        address=data.address("recipient"),
        occurred_at=at,
        reason=data.text("reason", MAX_NAME),
        **_reply(status),
        **facts,
        message_id=variables.message(),
        n=variables.recipient(),
        provider_message_id=bare(data.object("message").object("headers").text("message-id", MAX_NAME)),
    )
    return [event]


def _failure(data: Fields, status: Fields) -> dict[str, Any]:
    reason = data.text("reason", MAX_NAME)
    if reason in _LISTED:
        return {"kind": Kind.REJECTED, "suppress": _LISTED[reason]}
    if data.text("severity") != "permanent":
        return {"kind": Kind.DEFERRED}
    # Newer payloads say it; in older ones a `bounce` is a refusal, the other reasons are of the way there.
    hard = (status.text("bounce-type") or ("hard" if reason == "bounce" else "soft")) == "hard"
    bounce, cause = judged(hard=hard, enhanced=_reply(status)["enhanced"])
    return {"kind": Kind.BOUNCED, "bounce": bounce, "suppress": cause}


def _reply(status: Fields) -> dict[str, Any]:
    text = status.text("message") or status.text("description")
    code, found = reply(text)
    told_code = status.number("code")
    return {
        # Codes from 600 are of Mailgun's own.
        "code": told_code if told_code and 200 <= told_code < 600 else code,  # noqa: PLR2004 - reply codes of SMTP
        "enhanced": enhanced(status.text("enhanced-code")) or found,
        "text": text,
    }
