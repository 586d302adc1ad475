"""What Mailgun tells, as its documentation describes it."""

from dataclasses import replace
from typing import Any

import pytest

from mail.events import mailgun as reader
from mail.events.event import Bounce, Cause, Kind, ProviderEvent, Told
from tests.mail.events.calls import AT, MESSAGE, body, mailgun

PLAIN = ProviderEvent(
    id="",
    kind=Kind.ACCEPTED,
    address="b@far.example",
    occurred_at=AT,
    message_id=MESSAGE,
    n=0,
    provider_message_id="1@shop.example",
)
UNKNOWN_USER = {"code": 550, "message": "5.1.1 no such user", "attempt-no": 1, "mx-host": "mx.far.example"}
BOUNCED = replace(
    PLAIN,
    kind=Kind.BOUNCED,
    bounce=Bounce.HARD,
    suppress=Cause.BOUNCE,
    reason="bounce",
    code=550,
    enhanced="5.1.1",
    text="5.1.1 no such user",
)


def parsed(call: object) -> Told:
    told = reader.parse(body(call))
    return replace(told, events=tuple(replace(event, id="") for event in told.events))


@pytest.mark.parametrize(
    ("call", "event"),
    [
        (mailgun("accepted"), PLAIN),
        (
            mailgun("delivered", {"code": 250, "message": "OK", "tls": True}),
            replace(PLAIN, kind=Kind.DELIVERED, code=250, text="OK"),
        ),
        (mailgun("failed", UNKNOWN_USER, severity="permanent", reason="bounce"), BOUNCED),
        (
            mailgun("failed", {**UNKNOWN_USER, "bounce-type": "soft"}, severity="permanent", reason="bounce"),
            replace(BOUNCED, bounce=Bounce.SOFT, suppress=None),
        ),
        (
            mailgun(
                "failed",
                {"code": 550, "enhanced-code": "5.7.1", "message": "", "description": "refused"},
                severity="permanent",
                reason="bounce",
            ),
            replace(BOUNCED, bounce=Bounce.SOFT, suppress=None, enhanced="5.7.1", text="refused"),
        ),
        (
            mailgun("failed", {"code": 602, "message": "Too old"}, severity="permanent", reason="old"),
            replace(BOUNCED, bounce=Bounce.SOFT, suppress=None, reason="old", code=None, enhanced=None, text="Too old"),
        ),
        (
            mailgun("failed", {"code": 605, "message": ""}, severity="permanent", reason="suppress-bounce"),
            replace(PLAIN, kind=Kind.REJECTED, suppress=Cause.BOUNCE, reason="suppress-bounce"),
        ),
        (
            mailgun("failed", {"code": 450, "message": "4.2.0 Greylisted"}, severity="temporary", reason="greylisted"),
            replace(
                PLAIN, kind=Kind.DEFERRED, reason="greylisted", code=450, enhanced="4.2.0", text="4.2.0 Greylisted"
            ),
        ),
        (mailgun("rejected", reject={"reason": "x"}), replace(PLAIN, kind=Kind.REJECTED)),
        (mailgun("complained"), replace(PLAIN, kind=Kind.COMPLAINED, suppress=Cause.COMPLAINT)),
        (mailgun("unsubscribed"), replace(PLAIN, kind=Kind.UNSUBSCRIBED, suppress=Cause.UNSUBSCRIBE)),
        (mailgun("opened"), replace(PLAIN, kind=Kind.OPENED)),
        (mailgun("clicked", url="https://shop.example"), replace(PLAIN, kind=Kind.CLICKED)),
    ],
)
def test_each_kind_of_event_is_understood(call: dict[str, Any], event: ProviderEvent) -> None:
    assert parsed(call) == Told((event,))


def test_what_means_nothing_to_us_is_ignored() -> None:
    assert parsed(mailgun("stored")) == Told(ignored=("stored",))


def test_an_id_that_is_used_again_on_another_day_names_another_event() -> None:
    first, again, later = (
        reader.parse(body(call)).events[0].id
        for call in (mailgun("opened"), mailgun("opened"), mailgun("opened", timestamp=AT.timestamp() + 86_400))
    )
    assert first == again != later


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ({"recipient": None}, "call.event-data.recipient is no address"),
        ({"timestamp": "yesterday"}, "call.event-data.timestamp is no time"),
        ({"timestamp": 1e300}, "call.event-data.timestamp is no time"),
        ({"timestamp": 5}, "call.event-data.timestamp is no time of ours"),
        ({"id": ""}, "call.event-data.id is no text"),
        ({"user-variables": []}, "call.event-data.user-variables is no object"),
    ],
)
def test_an_event_with_a_fault_is_named_by_its_place(data: dict[str, Any], fault: str) -> None:
    assert parsed(mailgun("delivered", **data)) == Told(faults=(fault,))
