"""What SendGrid tells, as its documentation describes it."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from mail.events import sendgrid as reader
from mail.events.event import BadCall, Bounce, Cause, Fault, Kind, ProviderEvent, Told
from tests.mail.events.calls import MESSAGE, body, sendgrid

PLAIN = ProviderEvent(
    id="",
    kind=Kind.ACCEPTED,
    address="b@far.example",
    occurred_at=datetime(2026, 11, 24, 12, 0, 5, tzinfo=UTC),
    message_id=MESSAGE,
    n=0,
    provider_message_id="14c5d75ce93",
)
BOUNCED = replace(
    PLAIN,
    kind=Kind.BOUNCED,
    bounce=Bounce.HARD,
    suppress=Cause.BOUNCE,
    reason="Invalid Address",
    code=550,
    enhanced="5.1.1",
    text="550 5.1.1 unknown user",
)


def parsed(*events: object) -> Told:
    told = reader.parse(body(events))
    return replace(told, events=tuple(replace(event, id="") for event in told.events))


@pytest.mark.parametrize(
    ("call", "event"),
    [
        (sendgrid("processed"), PLAIN),
        (
            sendgrid("delivered", response="250 2.0.0 OK"),
            replace(PLAIN, kind=Kind.DELIVERED, code=250, enhanced="2.0.0", text="250 2.0.0 OK"),
        ),
        (
            sendgrid("deferred", response="400 try again later", attempt="5"),
            replace(PLAIN, kind=Kind.DEFERRED, code=400, text="400 try again later"),
        ),
        (
            sendgrid(
                "bounce",
                type="bounce",
                status="5.1.1",
                reason="550 5.1.1 unknown user",
                bounce_classification="Invalid Address",
            ),
            BOUNCED,
        ),
        (
            sendgrid("bounce", type="blocked", status="5.0.0", reason="500 unknown recipient"),
            replace(
                BOUNCED,
                bounce=Bounce.SOFT,
                suppress=None,
                reason="blocked",
                code=500,
                enhanced="5.0.0",
                text="500 unknown recipient",
            ),
        ),
        (
            sendgrid("dropped", reason="Bounced Address", status="5.0.0"),
            replace(PLAIN, kind=Kind.REJECTED, suppress=Cause.BOUNCE, enhanced="5.0.0", text="Bounced Address"),
        ),
        (
            sendgrid("dropped", reason="Spam Content"),
            replace(PLAIN, kind=Kind.REJECTED, text="Spam Content"),
        ),
        (sendgrid("spamreport"), replace(PLAIN, kind=Kind.COMPLAINED, suppress=Cause.COMPLAINT)),
        (sendgrid("unsubscribe"), replace(PLAIN, kind=Kind.UNSUBSCRIBED, suppress=Cause.UNSUBSCRIBE)),
        (
            sendgrid("group_unsubscribe", asm_group_id=10),
            replace(PLAIN, kind=Kind.UNSUBSCRIBED, suppress=Cause.UNSUBSCRIBE),
        ),
        (sendgrid("open"), replace(PLAIN, kind=Kind.OPENED)),
        (sendgrid("click"), replace(PLAIN, kind=Kind.CLICKED)),
    ],
)
def test_each_kind_of_event_is_understood(call: dict[str, Any], event: ProviderEvent) -> None:
    assert parsed(call) == Told((event,))


def test_one_bad_event_does_not_spoil_the_others() -> None:
    told = parsed(sendgrid("processed"), sendgrid("delivered", email=5), "junk", sendgrid("group_resubscribe"))
    assert told == Told((PLAIN,), ("group_resubscribe",), ("call[1].email is no address", "call[2] is no object"))


def test_an_event_without_a_name_of_its_own_is_not_taken_for_another() -> None:
    assert parsed(sendgrid("open", sg_event_id=" \0")) == Told(faults=("call[0].sg_event_id is no text",))


@pytest.mark.parametrize("call", [{}, [0] * 5001, "x"])
def test_what_is_no_batch_is_the_providers_fault(call: object) -> None:
    with pytest.raises(BadCall, match="no list of at most 5000 events") as bad:
        reader.parse(body(call))
    assert bad.value.fault is Fault.PROVIDER
