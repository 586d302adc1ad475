"""Whom we tell by mail what became of a message, and whom not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.notify import Action, answerable, may_notify, wanted

PLAIN = b"From: a@shop.example\r\nSubject: hello\r\n\r\nbody\r\n"


@pytest.mark.parametrize(
    ("notify", "actions"),
    [
        (None, {Action.FAILED, Action.DELAYED}),
        ("NEVER", set()),
        ("FAILURE", {Action.FAILED}),
        ("delay", {Action.DELAYED}),
        ("SUCCESS", {Action.DELIVERED, Action.RELAYED, Action.EXPANDED}),
        ("SUCCESS,FAILURE", {Action.DELIVERED, Action.RELAYED, Action.EXPANDED, Action.FAILED}),
        ("SUCCESS,FAILURE,DELAY", set(Action)),
        ("", set()),
    ],
)
def test_a_recipient_is_told_about_as_its_notify_says(notify: str | None, actions: set[Action]) -> None:
    assert {action for action in Action if wanted(notify, action)} == actions
    assert {action for action in Action if may_notify(PLAIN, "a@shop.example", notify, action)} == actions


@pytest.mark.parametrize("sender", ["", "MAILER-DAEMON@shop.example", '"mailer-daemon"@x', "double-bounce@x"])
def test_the_null_sender_and_machines_are_never_told(sender: str) -> None:
    assert not any(may_notify(PLAIN, sender, "SUCCESS,FAILURE,DELAY", action) for action in Action)


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: auto-generated",
        b"auto-submitted: Auto-Replied (vacation); owner-email=a@b",
        b"Content-Type: Multipart/Report; report-type=delivery-status; boundary=x",
        b"Content-Type: multipart/report\r\n\t;boundary=x",
        b"X-Auto-Response-Suppress: OOF, All",
        b"X-Auto-Response-Suppress: DR\r\nX-Auto-Response-Suppress: NDR",
    ],
)
def test_automatic_mail_and_reports_are_not_answered(field: bytes) -> None:
    message = field + b"\r\n" + PLAIN
    assert not any(may_notify(message, "a@shop.example", "SUCCESS,FAILURE,DELAY", action) for action in Action)


@pytest.mark.parametrize(
    "field",
    [
        b"Auto-Submitted: no",
        b"Auto-Submitted: No (really)",
        b"Auto-Submitted:",
        b"Content-Type: multipart/mixed; boundary=report",
        b"X-Auto-Response-Suppress: OOF, AutoReply",
        b"Precedence: bulk",
    ],
)
def test_mail_of_people_and_lists_is_answered(field: bytes) -> None:
    assert answerable(field + b"\r\n" + PLAIN, "owner-list@shop.example", Action.FAILED)


def test_failures_and_other_reports_are_suppressed_each_by_its_word() -> None:
    assert not answerable(b"X-Auto-Response-Suppress: NDR\r\n\r\n", "a@b", Action.FAILED)
    assert answerable(b"X-Auto-Response-Suppress: NDR\r\n\r\n", "a@b", Action.DELAYED)
    assert not answerable(b"X-Auto-Response-Suppress: DR\r\n\r\n", "a@b", Action.DELIVERED)
    assert answerable(b"X-Auto-Response-Suppress: DR\r\n\r\n", "a@b", Action.FAILED)


@given(st.binary(), st.text(), st.none() | st.text())
def test_no_text_makes_it_fail(message: bytes, sender: str, notify: str | None) -> None:
    assert may_notify(message, sender, notify, Action.FAILED) in {True, False}
