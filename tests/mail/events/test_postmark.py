"""What Postmark tells, as its documentation describes it."""

from dataclasses import replace
from typing import Any

import pytest

from mail.events import postmark as reader
from mail.events.event import Bounce, Cause, Kind, ProviderEvent, Told
from tests.mail.events.calls import AT, ISO, MESSAGE, body, postmark, postmark_bounce

PLAIN = ProviderEvent(
    id="",
    kind=Kind.DELIVERED,
    address="b@far.example",
    occurred_at=AT,
    message_id=MESSAGE,
    n=0,
    provider_message_id="883953f4-6105-42a2-a16a-77a8eac79483",
)
BOUNCED = replace(
    PLAIN,
    kind=Kind.BOUNCED,
    bounce=Bounce.HARD,
    suppress=Cause.BOUNCE,
    reason="HardBounce",
    code=550,
    enhanced="5.1.1",
    text="smtp;550 5.1.1 user unknown",
)
WORDS: dict[str, Any] = {"code": None, "enhanced": None, "text": "gone"}
UNSUBSCRIBED = {"ChangedAt": ISO, "SuppressSending": True, "SuppressionReason": "ManualSuppression"}


def parsed(call: object) -> Told:
    told = reader.parse(body(call))
    return replace(told, events=tuple(replace(event, id="") for event in told.events))


@pytest.mark.parametrize(
    ("call", "event"),
    [
        (
            postmark("Delivery", DeliveredAt=ISO, Details="smtp;250 2.0.0 OK"),
            replace(PLAIN, code=250, enhanced="2.0.0", text="smtp;250 2.0.0 OK"),
        ),
        (postmark_bounce("HardBounce"), BOUNCED),
        (
            postmark_bounce("BadEmailAddress", "gone"),
            replace(BOUNCED, reason="BadEmailAddress", **WORDS),
        ),
        (
            postmark_bounce("SoftBounce", "gone"),
            replace(BOUNCED, bounce=Bounce.SOFT, suppress=None, reason="SoftBounce", **WORDS),
        ),
        (
            postmark_bounce("Transient", "gone"),
            replace(PLAIN, kind=Kind.DEFERRED, reason="Transient", **WORDS),
        ),
        (
            postmark_bounce("DMARCPolicy", "gone"),
            replace(PLAIN, kind=Kind.REJECTED, reason="DMARCPolicy", **WORDS),
        ),
        (
            {**postmark_bounce("SpamComplaint", "gone"), "RecordType": "SpamComplaint"},
            replace(PLAIN, kind=Kind.COMPLAINED, suppress=Cause.COMPLAINT, reason="SpamComplaint", **WORDS),
        ),
        (
            postmark("SubscriptionChange", **UNSUBSCRIBED),
            replace(PLAIN, kind=Kind.UNSUBSCRIBED, suppress=Cause.UNSUBSCRIBE),
        ),
        (postmark("Open", ReceivedAt=ISO, FirstOpen=True), replace(PLAIN, kind=Kind.OPENED)),
        (postmark("Click", ReceivedAt=ISO), replace(PLAIN, kind=Kind.CLICKED)),
    ],
)
def test_each_kind_of_event_is_understood(call: dict[str, Any], event: ProviderEvent) -> None:
    assert parsed(call) == Told((event,))


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (postmark("Inbound"), "Inbound"),
        (postmark_bounce("AutoResponder"), "Bounce/AutoResponder"),
        (postmark("SubscriptionChange", **{**UNSUBSCRIBED, "SuppressSending": False}), "SubscriptionChange"),
        (postmark("SubscriptionChange", **{**UNSUBSCRIBED, "SuppressionReason": "HardBounce"}), "SubscriptionChange"),
    ],
)
def test_what_means_nothing_to_us_is_ignored(call: dict[str, Any], kind: str) -> None:
    assert parsed(call) == Told(ignored=(kind,))
