"""What SES tells, as its developer guide describes it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mail.events import ses as reader
from mail.events.event import Bounce, Cause, Kind, ProviderEvent, Told
from tests.mail.events.calls import (
    AT,
    MESSAGE,
    SES_ID,
    body,
    event_bridge,
    ses,
    ses_bounce,
    ses_complaint,
    ses_delivery,
    sns,
)

SENT_AT = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PLAIN = ProviderEvent(
    id="",
    kind=Kind.ACCEPTED,
    address="b@far.example",
    occurred_at=AT,
    message_id=MESSAGE,
    n=0,
    provider_message_id=SES_ID,
    channel="main",
)
DELIVERED = replace(PLAIN, kind=Kind.DELIVERED, code=250, enhanced="2.6.0", text="250 2.6.0 Message received")
BOUNCED = replace(
    PLAIN,
    kind=Kind.BOUNCED,
    bounce=Bounce.HARD,
    suppress=Cause.BOUNCE,
    reason="Permanent/NoEmail",
    code=550,
    enhanced="5.1.1",
    text="smtp; 550 5.1.1 user unknown",
)
COMPLAINED = replace(PLAIN, kind=Kind.COMPLAINED, suppress=Cause.COMPLAINT, reason="abuse")


def parsed(call: object) -> Told:
    told = reader.parse(body(call))
    assert all(0 < len(event.id) <= 64 for event in told.events)
    return replace(told, events=tuple(replace(event, id="") for event in told.events))


@pytest.mark.parametrize(
    ("call", "event"),
    [
        (ses("Send", send={}), replace(PLAIN, occurred_at=SENT_AT)),
        (ses_delivery(), DELIVERED),
        (ses_bounce(), BOUNCED),
        (
            ses_bounce("Permanent", "OnAccountSuppressionList", status=None, diagnosticCode="Amazon SES did not send"),
            replace(
                BOUNCED,
                reason="Permanent/OnAccountSuppressionList",
                code=None,
                enhanced=None,
                text="Amazon SES did not send",
            ),
        ),
        (
            ses_bounce("Transient", "MailboxFull", status="5.2.2", diagnosticCode=None),
            replace(
                BOUNCED,
                bounce=Bounce.SOFT,
                suppress=None,
                reason="Transient/MailboxFull",
                code=None,
                enhanced="5.2.2",
                text="",
            ),
        ),
        (
            # Permanent for SES, and yet of the message and not of the address.
            ses_bounce("Permanent", "General", status="5.7.1", diagnosticCode="smtp; 550 5.7.1 looks like spam"),
            replace(
                BOUNCED,
                bounce=Bounce.SOFT,
                suppress=None,
                reason="Permanent/General",
                enhanced="5.7.1",
                text="smtp; 550 5.7.1 looks like spam",
            ),
        ),
        (
            ses_bounce("Undetermined", "Undetermined", status=None, diagnosticCode=None),
            replace(
                BOUNCED,
                bounce=Bounce.SOFT,
                suppress=None,
                reason="Undetermined/Undetermined",
                code=None,
                enhanced=None,
                text="",
            ),
        ),
        (ses_complaint(), COMPLAINED),
        (
            ses_complaint(complaintSubType="OnAccountSuppressionList", complaintFeedbackType=None),
            replace(COMPLAINED, kind=Kind.REJECTED, reason="OnAccountSuppressionList"),
        ),
        (
            ses("Reject", reject={"reason": "Bad content"}),
            replace(PLAIN, kind=Kind.REJECTED, occurred_at=SENT_AT, text="Bad content"),
        ),
        (
            ses("Rendering Failure", failure={"errorMessage": "no value for name", "templateName": "t"}),
            replace(PLAIN, kind=Kind.REJECTED, occurred_at=SENT_AT, text="no value for name"),
        ),
        (
            ses(
                "DeliveryDelay",
                deliveryDelay={
                    "timestamp": "2026-11-24T12:00:05.123Z",
                    "delayType": "TransientCommunicationFailure",
                    "expirationTime": "2026-11-25T02:00:00.000Z",
                    "delayedRecipients": [
                        {
                            "emailAddress": "b@far.example",
                            "status": "4.4.1",
                            "diagnosticCode": "smtp; 421 4.4.1 no answer",
                        }
                    ],
                },
            ),
            replace(
                PLAIN,
                kind=Kind.DEFERRED,
                reason="TransientCommunicationFailure",
                code=421,
                enhanced="4.4.1",
                text="smtp; 421 4.4.1 no answer",
            ),
        ),
        (
            ses(
                "Subscription",
                subscription={
                    "contactList": "news",
                    "timestamp": "2026-11-24T12:00:05.123Z",
                    "source": "UnsubscribeHeader",
                    "newTopicPreferences": {"unsubscribeAll": True, "topicSubscriptionStatus": []},
                },
            ),
            replace(PLAIN, kind=Kind.UNSUBSCRIBED, suppress=Cause.UNSUBSCRIBE, reason="news"),
        ),
        (ses("Open", open={"timestamp": "2026-11-24T12:00:05.123Z"}), replace(PLAIN, kind=Kind.OPENED)),
        (
            ses("Click", click={"timestamp": "2026-11-24T12:00:05.123Z", "link": "https://shop.example"}),
            replace(PLAIN, kind=Kind.CLICKED),
        ),
    ],
)
def test_each_kind_of_event_is_understood_in_every_wrapping(call: dict[str, Any], event: ProviderEvent) -> None:
    told = Told((event,))
    assert parsed(call) == parsed(sns(call)) == parsed(event_bridge(call)) == told


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (ses("Fax", fax={}), "Fax"),
        (ses_complaint(complaintFeedbackType="not-spam"), "Complaint/not-spam"),
        (ses("Open", "b@far.example", "c@far.example", open={}), "open of several"),
        (ses("Subscription", subscription={"newTopicPreferences": {"unsubscribeAll": False}}), "Subscription"),
        (sns("Successfully validated SNS topic for Amazon SES event publishing."), "topic validated"),
        ({**sns("You have chosen to subscribe"), "Type": "SubscriptionConfirmation"}, "SubscriptionConfirmation"),
    ],
)
def test_what_means_nothing_to_us_is_ignored(call: dict[str, Any], kind: str) -> None:
    assert parsed(call) == Told(ignored=(kind,))


def test_feedback_of_an_identity_is_read_like_an_event() -> None:
    call = ses_bounce()
    call["notificationType"] = call.pop("eventType")
    del call["mail"]["tags"]
    assert parsed(call) == Told((replace(BOUNCED, message_id=None, n=None, channel=None),))


def test_each_recipient_of_an_event_has_one_of_its_own() -> None:
    told = reader.parse(body(ses_delivery("b@far.example", "Ann <c@far.example>")))
    assert [event.address for event in told.events] == ["b@far.example", "c@far.example"]
    assert len({event.id for event in told.events}) == 2


def test_the_same_event_has_the_same_id_and_others_have_another() -> None:
    def name(call: object) -> str:
        return reader.parse(body(call)).events[0].id

    again = ses_delivery()
    assert name(ses_delivery()) == name(sns(again))
    again["delivery"]["timestamp"] = "2026-11-24T12:00:09.000Z"
    assert len({name(ses_delivery()), name(again), name(ses_bounce()), name(ses_complaint())}) == 4


@pytest.mark.parametrize("tags", [{}, {"smtp_proxy_message": "12", "smtp_proxy_recipient": "-1"}])
def test_tags_of_somebody_else_name_nothing(tags: dict[str, str]) -> None:
    (event,) = parsed(ses_delivery(tags=tags)).events
    assert (event.message_id, event.n, event.provider_message_id) == (None, None, SES_ID)


def test_an_event_with_a_fault_is_named_by_its_place() -> None:
    call = ses_bounce(emailAddress="nobody")
    assert parsed(call) == Told(faults=("call.bounce.bouncedRecipients[0].emailAddress is no address",))
    assert parsed({"eventType": "Send", "mail": []}).faults == ("call.mail is no object",)
