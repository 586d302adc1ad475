"""Events of Postmark: one for each call.

Source: Postmark developer documentation, "Webhooks", and its list of bounce types.
"""

from collections.abc import Callable, Iterable
from typing import Final

from mail.events.bounces import judged
from mail.events.event import Cause, Kind, ProviderEvent, Told
from mail.events.reading import (
    MAX_NAME,
    Fields,
    document,
    identity,
    reply,
    told,
    whole,
)

_HARD: Final = frozenset({"HardBounce", "BadEmailAddress"})
_BOUNCES: Final = {
    **dict.fromkeys(_HARD, Kind.BOUNCED),
    "SoftBounce": Kind.BOUNCED,
    "DnsError": Kind.BOUNCED,
    "Blocked": Kind.BOUNCED,
    "SpamNotification": Kind.BOUNCED,
    "VirusNotification": Kind.BOUNCED,
    "Unknown": Kind.BOUNCED,
    "Transient": Kind.DEFERRED,
    "ManuallyDeactivated": Kind.REJECTED,
    "SMTPApiError": Kind.REJECTED,
    "DMARCPolicy": Kind.REJECTED,
    "TemplateRenderingFailed": Kind.REJECTED,
    "SpamComplaint": Kind.COMPLAINED,
    "Unsubscribe": Kind.UNSUBSCRIBED,
    # Not here: automatic answers (AutoResponder, ChallengeVerification, AddressChange) and what is not about our mail.
}
_CAUSES: Final = {Kind.UNSUBSCRIBED: Cause.UNSUBSCRIBE, Kind.COMPLAINED: Cause.COMPLAINT}


def parse(body: bytes | str) -> Told:
    """Read one call.

    Raises:
        BadCall: it is none of Postmark's.
    """
    call = whole(document(body), "call")
    return told([lambda: _event(call)])


def _event(call: Fields) -> Iterable[ProviderEvent] | str:
    name = call.word("RecordType")
    reader = _READERS.get(name)
    return reader(call) if reader else name


def _bounce(call: Fields) -> Iterable[ProviderEvent] | str:
    name = call.word("Type")
    kind = _BOUNCES.get(name)
    if kind is None:
        return f"Bounce/{name}"
    text = call.text("Details") or call.text("Description")
    code, enhanced = reply(text)
    bounce, cause = None, _CAUSES.get(kind)
    if kind is Kind.BOUNCED:
        bounce, cause = judged(hard=name in _HARD, enhanced=enhanced)
    event = ProviderEvent(
        id=identity("bounce", call.word("ID")),
        kind=kind,
        address=call.address("Email"),
        occurred_at=call.time("BouncedAt"),
        bounce=bounce,
        suppress=cause,
        reason=name,
        code=code,
        enhanced=enhanced,
        text=text,
        message_id=call.object("Metadata").message(),
        n=call.object("Metadata").recipient(),
        provider_message_id=call.word("MessageID", MAX_NAME),
    )
    return [event]


def _delivery(call: Fields) -> Iterable[ProviderEvent] | str:
    return [_plain(call, Kind.DELIVERED, "DeliveredAt", text=call.text("Details"))]


def _open(call: Fields) -> Iterable[ProviderEvent] | str:
    return [_plain(call, Kind.OPENED, "ReceivedAt")]


def _click(call: Fields) -> Iterable[ProviderEvent] | str:
    return [_plain(call, Kind.CLICKED, "ReceivedAt")]


def _subscription(call: Fields) -> Iterable[ProviderEvent] | str:
    # Bounces and complaints change it as well, and are told by events of their own.
    if not call.flag("SuppressSending") or call.text("SuppressionReason") != "ManualSuppression":
        return "SubscriptionChange"
    return [_plain(call, Kind.UNSUBSCRIBED, "ChangedAt", cause=Cause.UNSUBSCRIBE)]


def _plain(call: Fields, kind: Kind, when: str, *, text: str = "", cause: Cause | None = None) -> ProviderEvent:
    at, recipient, message = call.time(when), call.address("Recipient"), call.word("MessageID", MAX_NAME)
    code, enhanced = reply(text)
    return ProviderEvent(
        id=identity(kind, message, recipient.lower(), at),
        kind=kind,
        address=recipient,
        occurred_at=at,
        suppress=cause,
        code=code,
        enhanced=enhanced,
        text=text,
        message_id=call.object("Metadata").message(),
        n=call.object("Metadata").recipient(),
        provider_message_id=message,
    )


_READERS: Final[dict[str, Callable[[Fields], Iterable[ProviderEvent] | str]]] = {
    "Bounce": _bounce,
    "SpamComplaint": _bounce,
    "Delivery": _delivery,
    "Open": _open,
    "Click": _click,
    "SubscriptionChange": _subscription,
}
