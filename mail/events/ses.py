"""Events of Amazon SES: event publishing through SNS (wrapped or raw) or EventBridge, and feedback notifications.

Source: SES Developer Guide, "Contents of event data that Amazon SES publishes to Amazon SNS", and "Amazon SNS
notification contents for Amazon SES" for the older form.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from mail.events.bounces import judged
from mail.events.event import Bounce, Cause, Kind, ProviderEvent, Told
from mail.events.reading import (
    MAX_ADDRESS,
    MAX_NAME,
    Fields,
    address,
    clean,
    document,
    enhanced,
    identity,
    message_of,
    recipient_of,
    reply,
    told,
    whole,
)
from mail.events.tags import MESSAGE_TAG, RECIPIENT_TAG

CONFIGURATION_SET: Final = "ses:configuration-set"
# What SES says once to a topic it is told to publish to; it is not JSON.
_GREETING: Final = "Successfully validated SNS topic"
# Subtype for which SES sent nothing, since the address is on the suppression list of the AWS account.
_LISTED: Final = "OnAccountSuppressionList"


def parse(body: bytes | str) -> Told:
    """Read one message of an SQS queue or one call of SNS.

    Raises:
        BadCall: it is none of SES's.
    """
    call = whole(document(body), "call")
    if call.has("Message") and call.has("Type"):
        if call.text("Type") != "Notification":
            return Told(ignored=(call.text("Type"),))
        message = call.long("Message")
        if message.startswith(_GREETING):
            return Told(ignored=("topic validated",))
        call = whole(document(message), "Message")
    elif call.has("detail"):
        call = whole(call.value("detail"), "detail")
    return told([lambda: _event(call)])


def _event(call: Fields) -> Iterable[ProviderEvent] | str:
    kind = call.text("eventType") or call.word("notificationType")
    reader = _READERS.get(kind)
    if reader is None:
        return kind
    mail = _Mail(call.object("mail"))
    found = reader(call, mail)
    return found if isinstance(found, str) else list(found)


class _Mail:
    """The `mail` object: which message it is about."""

    def __init__(self, fields: Fields) -> None:
        tags = fields.object("tags")
        self.fields = fields
        self.id = fields.word("messageId", MAX_NAME)
        self.message_id = message_of(tags.first(MESSAGE_TAG))
        self.n = recipient_of(tags.first(RECIPIENT_TAG))
        self.channel = tags.first(CONFIGURATION_SET) or None

    @property
    def destinations(self) -> list[str]:
        return _addresses(self.fields, "destination")

    def event(self, kind: Kind, source: Fields, recipient: str, **more: Any) -> ProviderEvent:
        """One event; SES names bounces and complaints, the others are told apart by their time."""
        at = source.time("timestamp") if source.has("timestamp") else self.fields.time("timestamp")
        mark = source.text("feedbackId", MAX_NAME) or at
        return ProviderEvent(
            id=identity(self.id, kind, recipient.lower(), mark),
            kind=kind,
            address=recipient,
            occurred_at=at,
            message_id=self.message_id,
            n=self.n,
            provider_message_id=self.id,
            channel=self.channel,
            **more,
        )


def _sent(call: Fields, mail: _Mail) -> Iterator[ProviderEvent]:
    for recipient in mail.destinations:
        yield mail.event(Kind.ACCEPTED, call.object("send"), recipient)


def _delivered(call: Fields, mail: _Mail) -> Iterator[ProviderEvent]:
    delivery = call.object("delivery")
    text = delivery.text("smtpResponse")
    code, status = reply(text)
    for recipient in _addresses(delivery, "recipients"):
        yield mail.event(Kind.DELIVERED, delivery, recipient, code=code, enhanced=status, text=text)


def _delayed(call: Fields, mail: _Mail) -> Iterator[ProviderEvent]:
    delay = call.object("deliveryDelay")
    for each in delay.objects("delayedRecipients"):
        yield mail.event(Kind.DEFERRED, delay, each.address("emailAddress"), **_diagnosis(each, delay, "delayType"))


def _bounced(call: Fields, mail: _Mail) -> Iterator[ProviderEvent]:
    bounce = call.object("bounce")
    hard = bounce.word("bounceType") == "Permanent"
    for each in bounce.objects("bouncedRecipients"):
        diagnosis = _diagnosis(each, bounce, "bounceType", "bounceSubType")
        verdict, cause = judged(hard=hard, enhanced=diagnosis["enhanced"])
        if hard and bounce.text("bounceSubType") == _LISTED:
            verdict, cause = Bounce.HARD, Cause.BOUNCE
        yield mail.event(
            Kind.BOUNCED, bounce, each.address("emailAddress"), bounce=verdict, suppress=cause, **diagnosis
        )


def _complained(call: Fields, mail: _Mail) -> Iterable[ProviderEvent] | str:
    complaint = call.object("complaint")
    feedback, subtype = complaint.text("complaintFeedbackType"), complaint.text("complaintSubType")
    if feedback == "not-spam":
        # RFC 6430: somebody takes a complaint back.
        return "Complaint/not-spam"
    # It was not sent at all: the recipient complained about mail before.
    kind = Kind.REJECTED if subtype == _LISTED else Kind.COMPLAINED
    reason = clean("/".join(filter(None, (feedback, subtype))))
    return [
        mail.event(kind, complaint, each.address("emailAddress"), suppress=Cause.COMPLAINT, reason=reason)
        for each in complaint.objects("complainedRecipients")
    ]


def _rejected(call: Fields, mail: _Mail) -> Iterator[ProviderEvent]:
    for recipient in mail.destinations:
        yield mail.event(Kind.REJECTED, call.object("reject"), recipient, text=call.object("reject").text("reason"))


def _not_rendered(call: Fields, mail: _Mail) -> Iterator[ProviderEvent]:
    failure = call.object("failure")
    for recipient in mail.destinations:
        yield mail.event(Kind.REJECTED, failure, recipient, text=failure.text("errorMessage"))


def _engaged(kind: Kind, name: str) -> Callable[[Fields, _Mail], Iterable[ProviderEvent] | str]:
    def read(call: Fields, mail: _Mail) -> Iterable[ProviderEvent] | str:
        recipients = mail.destinations
        # SES does not say which of several recipients it was.
        return [mail.event(kind, call.object(name), recipients[0])] if len(recipients) == 1 else f"{name} of several"

    return read


def _subscription(call: Fields, mail: _Mail) -> Iterable[ProviderEvent] | str:
    subscription = call.object("subscription")
    if not subscription.object("newTopicPreferences").flag("unsubscribeAll"):
        return "Subscription"
    return [
        mail.event(
            Kind.UNSUBSCRIBED,
            subscription,
            recipient,
            suppress=Cause.UNSUBSCRIBE,
            reason=subscription.text("contactList"),
        )
        for recipient in mail.destinations
    ]


def _diagnosis(each: Fields, source: Fields, *classes: str) -> dict[str, Any]:
    text = each.text("diagnosticCode")
    code, status = reply(text)
    reason = clean("/".join(filter(None, map(source.text, classes))))
    return {"code": code, "enhanced": enhanced(each.text("status")) or status, "text": text, "reason": reason}


def _addresses(fields: Fields, name: str) -> list[str]:
    where = f"{fields.name}.{name}"
    return [address(value, f"{where}[{k}]"[:MAX_ADDRESS]) for k, value in enumerate(fields.items(name))]


_READERS: Final[dict[str, Callable[[Fields, _Mail], Iterable[ProviderEvent] | str]]] = {
    "Send": _sent,
    "Delivery": _delivered,
    "DeliveryDelay": _delayed,
    "Bounce": _bounced,
    "Complaint": _complained,
    "Reject": _rejected,
    "Rendering Failure": _not_rendered,
    "Open": _engaged(Kind.OPENED, "open"),
    "Click": _engaged(Kind.CLICKED, "click"),
    "Subscription": _subscription,
}
