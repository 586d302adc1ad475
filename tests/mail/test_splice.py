"""Header fields cut out and put before, every other octet as it was."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail.headers import field_values
from mail.splice import fields_of, header_end, outgoing, with_fields_before, without

MESSAGE = (
    b"Received: from a\r\n\tby b\r\n"
    b"From: a@shop.example\r\n"
    b"BCC : secret@other.example,\r\n\tsecond@other.example\r\n \r\n"
    b"To: b@other.example\r\n"
    b"X-Ses-Configuration-Set:\r\n theirs\r\n"
    b"X-Session: kept\r\n"
    b"resent-bcc: third@other.example\r\n"
    b"Subject: Bcc: is a word,\r\n bcc: too\r\n"
    b"\r\n"
    b"Bcc: in the body\r\n"
)


def test_bcc_and_ses_fields_are_cut_out_with_their_continuation_lines() -> None:
    assert outgoing(MESSAGE) == (
        b"Received: from a\r\n\tby b\r\n"
        b"From: a@shop.example\r\n"
        b"To: b@other.example\r\n"
        b"X-Session: kept\r\n"
        b"Subject: Bcc: is a word,\r\n bcc: too\r\n"
        b"\r\n"
        b"Bcc: in the body\r\n"
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\r\n",
        b"\r\nBcc: in the body\r\n",
        b"\nBcc: in the body\r\n",
        b"From: a@b\r\nBccs: no\r\nX-Bcc: no\r\nX-Sesame: no\r\n\r\nbcc: in the body",
        b"From: a@b\r\nBcc without a colon\r\n\r\n",
        b"From: a@b\n\nBcc: in the body\n",
        b"From: a@b\n\r\nBcc: in the body\n\n",
    ],
)
def test_a_message_without_them_comes_back_itself(message: bytes) -> None:
    assert outgoing(message) is message


@pytest.mark.parametrize(
    ("message", "sent"),
    [
        (b"Bcc: a@b", b""),
        (b"Bcc: a@b\r\n", b""),
        (b"Bcc: a@b\r\n\r\nbody", b"\r\nbody"),
        (b"To: a@b\nBcc: c@d\n e@f\nCc: g@h\n\nBcc: body\n", b"To: a@b\nCc: g@h\n\nBcc: body\n"),
        (b"X-SES-: a\r\nX-SES-A-B: c\r\nA: b\r\n\r\n", b"A: b\r\n\r\n"),
        (b"A: " + b"x" * 300_000 + b"\r\nBcc: c@d\r\n\r\n", b"A: " + b"x" * 300_000 + b"\r\n\r\n"),
    ],
)
def test_wherever_they_stand_they_go(message: bytes, sent: bytes) -> None:
    assert outgoing(message) == sent


def test_only_the_names_that_are_given_go() -> None:
    assert without(b"A: 1\r\nB: 2\r\nC-x: 3\r\nC.: 4\r\n\r\n", ["a", "c-*"]) == b"B: 2\r\nC.: 4\r\n\r\n"


def test_fields_go_before_all_others() -> None:
    assert with_fields_before(b"From: a@b\r\n\r\nbody", b"DKIM-Signature: x\r\n") == (
        b"DKIM-Signature: x\r\nFrom: a@b\r\n\r\nbody"
    )


def test_the_values_of_all_fields_with_a_name_are_found() -> None:
    assert field_values(b"A: 1\r\nb: x\r\na :2\r\n\t3\r\nAA: 4\r\nA: \xff", "a") == ["1", "2\t3", "\ufffd"]


LINES = st.lists(
    st.sampled_from(
        [
            b"Bcc: a",
            b"bcc:",
            b"BCC \t: a",
            b"X-SES-A: b",
            b" folded",
            b"\tbcc: x",
            b"To: a",
            b"junk",
            b"",
            b"\xffbcc: a",
            b":",
        ]
    ),
    max_size=12,
)


@given(LINES, st.sampled_from([b"\r\n", b"\n"]))
def test_what_is_left_are_the_other_lines_in_order(lines: list[bytes], end: bytes) -> None:
    kept: list[bytes] = []
    cutting = body = False
    for number, line in enumerate(lines):
        if not body:
            body = not line
            folded = line[:1] in {b" ", b"\t"} and number > 0
            cutting = not body and (cutting if folded else line[:3].lower() == b"bcc" or line.startswith(b"X-SES"))
        if not cutting:
            kept.append(line + end)
    message = b"".join(line + end for line in lines)
    assert outgoing(message) == b"".join(kept)


@given(st.binary())
@example(b"a\r\n\r\n")
@example(b"\n a: b")
def test_the_fields_of_any_octets_are_these_octets(octets: bytes) -> None:
    end = header_end(octets)
    assert b"".join(field.raw for field in fields_of(octets[:end])) == octets[:end]
    assert end == len(octets) or octets.startswith((b"\r\n", b"\n"), end)


@given(st.binary())
def test_any_octets_survive_a_second_time_unchanged(octets: bytes) -> None:
    once = outgoing(octets)
    assert outgoing(once) is once
