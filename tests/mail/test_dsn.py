"""Delivery status notifications, read by the standard library."""

import email
import email.message
import email.policy
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail.dsn import MAX_RETURNED, Original, RecipientReport, Reporter, report
from mail.encoding import seven_bit
from mail.notify import Action

MESSAGE = (
    b"Received: from client\r\n\tby relay.example\r\n"
    b"From: Shop <a@shop.example>\r\n"
    b"Bcc: secret@other.example\r\n"
    b"Message-ID: <1@shop.example>\r\n"
    b"Subject: Hello\r\n"
    b"\r\n"
    b"Body\r\n"
)
ARRIVED = datetime(2026, 11, 24, 8, 0, tzinfo=UTC)
NOW = datetime(2026, 11, 26, 8, 0, 5, tzinfo=UTC)
REPORTER = Reporter("relay.example", "mailer-daemon@relay.example")
ID = UUID("01930000-0000-7000-8000-000000000001")
ORIGINAL = Original(message=MESSAGE, mail_from="a@shop.example", arrived_at=ARRIVED)
FAILED = RecipientReport(
    address="b@other.example",
    action=Action.FAILED,
    status="5.1.1",
    orcpt="rfc822;Bob+2Bshop@other.example",
    remote_mta="mx.other.example",
    code=550,
    text="5.1.1 No such user",
    attempted_at=NOW,
    retry_until=NOW,
    log_id="01930000-0000-7000-8000-000000000002",
)
DELAYED = RecipientReport(
    address="c@third.example",
    action=Action.DELAYED,
    status=None,
    text="the provider did not answer",
    retry_until=datetime(2026, 11, 28, tzinfo=UTC),
)

Block = dict[str, str]


def written(*recipients: RecipientReport, original: Original = ORIGINAL) -> bytes:
    return report(original, recipients, REPORTER, ID, NOW)


def parts(octets: bytes) -> tuple[email.message.Message, list[email.message.Message]]:
    message = email.message_from_bytes(octets)
    payload = message.get_payload()
    assert isinstance(payload, list)
    found = [part for part in payload if isinstance(part, email.message.Message)]
    ours = [message, found[0], *found[1].walk(), found[2]]
    assert [part.defects for part in ours] == [[] for _ in ours]
    return message, found


def fields(message: email.message.Message) -> Block:
    return {name: " ".join(str(value).split()) for name, value in message.items()}


def blocks(part: email.message.Message) -> list[Block]:
    """The message's fields and each recipient's."""
    payload = part.get_payload()
    assert isinstance(payload, list)
    return [fields(block) for block in payload if isinstance(block, email.message.Message)]


def content(part: email.message.Message) -> bytes:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


def test_a_report_about_several_recipients_says_all_about_each() -> None:
    octets = written(DELAYED, FAILED)
    assert octets.isascii()
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    message, (text, status, returned) = parts(octets)
    boundary = message.get_boundary()
    assert fields(message) == {
        "From": "Mail Delivery System <mailer-daemon@relay.example>",
        "To": "<a@shop.example>",
        "Subject": "Your mail could not be delivered",
        "Date": "Thu, 26 Nov 2026 08:00:05 +0000",
        "Message-ID": "<01930000-0000-7000-8000-000000000001@relay.example>",
        "In-Reply-To": "<1@shop.example>",
        "References": "<1@shop.example>",
        "Auto-Submitted": "auto-replied",
        "MIME-Version": "1.0",
        "Content-Type": f'multipart/report; report-type=delivery-status; boundary="{boundary}"',
    }
    assert fields(text) == {"Content-Type": "text/plain; charset=us-ascii", "Content-Transfer-Encoding": "7bit"}
    assert content(text).decode().splitlines() == [
        "This is the mail system at relay.example.",
        "",
        "Your message could not be delivered to these recipients, and is not tried",
        "again:",
        "",
        "  <b@other.example>",
        "    550 5.1.1 No such user",
        "",
        "Your message is not delivered to these recipients yet. It is tried again; do",
        "not send it again:",
        "",
        "  <c@third.example>",
        "    the provider did not answer",
    ]
    assert status.get_content_type() == "message/delivery-status"
    assert blocks(status) == [
        {"Reporting-MTA": "dns; relay.example", "Arrival-Date": "Tue, 24 Nov 2026 08:00:00 +0000"},
        {
            "Final-Recipient": "rfc822; c@third.example",
            "Action": "delayed",
            "Status": "4.0.0",
            "Diagnostic-Code": "x-smtp-proxy; the provider did not answer",
            "Will-Retry-Until": "Sat, 28 Nov 2026 00:00:00 +0000",
        },
        {
            "Original-Recipient": "rfc822; Bob+shop@other.example",
            "Final-Recipient": "rfc822; b@other.example",
            "Action": "failed",
            "Status": "5.1.1",
            "Remote-MTA": "dns; mx.other.example",
            "Diagnostic-Code": "smtp; 550 5.1.1 No such user",
            "Last-Attempt-Date": "Thu, 26 Nov 2026 08:00:05 +0000",
            "Final-Log-Id": "01930000-0000-7000-8000-000000000002",
        },
    ]
    assert returned.get_content_type() == "text/rfc822-headers"
    assert (
        content(returned) == MESSAGE.partition(b"\r\n\r\n")[0].replace(b"Bcc: secret@other.example\r\n", b"") + b"\r\n"
    )


@pytest.mark.parametrize(
    ("action", "subject", "status"),
    [
        (Action.FAILED, "Your mail could not be delivered", "5.0.0"),
        (Action.DELAYED, "Your mail is delayed", "4.0.0"),
        (Action.RELAYED, "Delivery report", "2.0.0"),
        (Action.EXPANDED, "Delivery report", "2.0.0"),
        (Action.DELIVERED, "Delivery report", "2.0.0"),
    ],
)
def test_each_action_has_its_subject_and_status(action: Action, subject: str, status: str) -> None:
    message, (_, part, _) = parts(written(RecipientReport(address="b@c", action=action, status="nonsense")))
    assert message["Subject"] == subject
    assert blocks(part)[1] == {"Final-Recipient": "rfc822; b@c", "Action": action.value, "Status": status}


def test_the_whole_message_comes_back_where_it_was_asked_for() -> None:
    original = Original(message=MESSAGE, mail_from="a@b", arrived_at=ARRIVED, ret="FULL", envid="id+3D1+0D+0AX: y")
    _, (_, status, returned) = parts(written(FAILED, original=original))
    assert blocks(status)[0] == {
        "Original-Envelope-Id": "id=1??X: y",
        "Reporting-MTA": "dns; relay.example",
        "Arrival-Date": "Tue, 24 Nov 2026 08:00:00 +0000",
    }
    assert returned.get_content_type() == "message/rfc822"
    inner = returned.get_payload(0)
    assert isinstance(inner, email.message.Message)
    assert inner.as_bytes(policy=email.policy.compat32.clone(linesep="\r\n")) == MESSAGE.replace(
        b"Bcc: secret@other.example\r\n", b""
    )


def test_octets_above_127_are_declared() -> None:
    octets = b"Subject: a\r\n\r\n\xe4\r\n"
    original = Original(message=octets, mail_from="a@b", arrived_at=ARRIVED, ret="FULL")
    message, (_, _, returned) = parts(written(FAILED, original=original))
    assert message["Content-Transfer-Encoding"] == returned["Content-Transfer-Encoding"] == "8bit"
    assert b"\r\n\r\n" + octets in written(FAILED, original=original)


@pytest.mark.parametrize("address", ["b@c.example", "b\u00e4@c.example"])
def test_a_report_can_be_encoded_for_a_peer_without_8bitmime(address: str) -> None:
    octets = "Subject: a\r\n\r\n\u00e4 {}\r\n".format("x" * 2000).encode()
    original = Original(message=octets, mail_from="a@b", arrived_at=ARRIVED, ret="FULL")
    recipient = RecipientReport(address=address, action=Action.FAILED, status="5.1.1")
    again = seven_bit(written(recipient, original=original))
    assert again is not None
    assert again.isascii()
    _, (_, status, returned) = parts(again)
    assert status["Content-Transfer-Encoding"] == ("7bit" if address.isascii() else "quoted-printable")
    inner = returned.get_payload(0)
    assert isinstance(inner, email.message.Message)
    assert content(inner) == octets.partition(b"\r\n\r\n")[2]


def test_a_message_too_large_comes_back_as_its_header() -> None:
    original = Original(message=MESSAGE + b"x" * MAX_RETURNED, mail_from="a@b", arrived_at=ARRIVED, ret="FULL")
    _, (_, _, returned) = parts(written(FAILED, original=original))
    assert returned.get_content_type() == "text/rfc822-headers"


@pytest.mark.parametrize(
    ("header", "given_back"),
    [
        (b"Subject: \xff\r\n", b"Subject: \xff\r\n"),
        (b"Subject: " + b"x" * 2000 + b"\r\n", b"Subject: " + b"x" * 2000 + b"\r\n"),
        (b"A: b\rc\n--d\r\n", b"A: b\rc\n--d\r\n"),
        (b"A: b\r\n" * 20_000, b"A: b\r\n" * 10_922),
        (b"A" * 100_000, b""),
        (b"", b""),
    ],
)
def test_any_header_comes_back_on_lines_that_every_server_takes(header: bytes, given_back: bytes) -> None:
    octets = written(FAILED, original=Original(message=header + b"\r\n", mail_from="a@b", arrived_at=ARRIVED))
    assert octets.isascii()
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    assert content(parts(octets)[1][2]) == given_back


def test_addresses_outside_ascii_make_it_an_international_report() -> None:
    message = "From: ä@bücher.example\r\nSubject: grüße\r\n\r\nä\r\n".encode()
    recipient = RecipientReport(
        address="jörg@bücher.example",
        action=Action.FAILED,
        status="5.1.1",
        orcpt="utf-8;j\\x{F6}rg@b\\x{FC}cher.example",
        code=550,
        text="Unbekannter Empfänger",
    )
    original = Original(message=message, mail_from="ä@bücher.example", arrived_at=ARRIVED)
    octets = written(recipient, original=original)
    assert "\r\nTo: <ä@bücher.example>\r\n".encode() in octets
    assert (
        "\r\nContent-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"
        "Reporting-MTA: dns; relay.example\r\nArrival-Date: Tue, 24 Nov 2026 08:00:00 +0000\r\n\r\n"
        "Original-Recipient: utf-8; jörg@bücher.example\r\nFinal-Recipient: utf-8; jörg@bücher.example\r\n"
        "Action: failed\r\nStatus: 5.1.1\r\nDiagnostic-Code: smtp; 550 5.1.1 Unbekannter Empfänger\r\n\r\n--"
    ).encode() in octets
    _, (text, _, returned) = parts(octets)
    assert content(text).decode().splitlines()[-2:] == [
        "  <jörg@bücher.example>",
        "    550 5.1.1 Unbekannter Empfänger",
    ]
    assert returned.get_content_type() == "message/global-headers"
    full = Original(message=message, mail_from="ä@bücher.example", arrived_at=ARRIVED, ret="FULL")
    assert b"\r\nContent-Type: message/global\r\nContent-Transfer-Encoding: 8bit\r\n\r\n" + message in written(
        recipient, original=full
    )


@pytest.mark.parametrize(
    ("orcpt", "said"),
    [
        ("rfc822;b+E4@c", "rfc822; b?@c"),
        ("RFC822;b+3Bc@d", "RFC822; b;c@d"),
        ("x400;a+0D+0Ab", "x400; a??b"),
        ("utf-8;b\\x{110000}@c", "utf-8; b\\x{110000}@c"),
        ("rfc822;", None),
        ("b@c", None),
    ],
)
def test_the_address_that_the_client_meant_is_decoded(orcpt: str, said: str | None) -> None:
    recipient = RecipientReport(address="b@c", action=Action.FAILED, status=None, orcpt=orcpt)
    _, (_, status, _) = parts(written(recipient))
    assert blocks(status)[1].get("Original-Recipient") == said


@pytest.mark.parametrize(
    "message_id", [b"", b"<a b@c>", b"<a@b>\r\n <c@d>", b"a@b", b"<" + b"a" * 300 + b">", b"<\xff@b>"]
)
def test_a_malformed_message_id_is_not_repeated(message_id: bytes) -> None:
    original = Original(message=b"Message-ID: " + message_id + b"\r\n\r\n", mail_from="a@b", arrived_at=ARRIVED)
    message, _ = parts(written(FAILED, original=original))
    assert (message["In-Reply-To"], message["References"]) == (None, None)


def test_nothing_of_the_message_is_in_the_reprs() -> None:
    assert "Body" not in repr(ORIGINAL)


HOSTILE = st.text() | st.lists(
    st.sampled_from(
        [
            "\r\n",
            "\n",
            "\r",
            "Bcc: x@y",
            "--",
            "=_",
            " ",
            "\0",
            "ä",
            "\u2028",
            "\ud800",
            "+0D+0A",
            "\\x{A}",
            ";",
            "x" * 300,
        ]
    ),
    max_size=12,
).map("".join)
RECIPIENTS = st.builds(
    RecipientReport,
    address=HOSTILE,
    action=st.sampled_from(Action),
    status=st.none() | HOSTILE,
    orcpt=st.none() | HOSTILE | HOSTILE.map("utf-8;".__add__),
    remote_mta=st.none() | HOSTILE,
    code=st.none() | st.integers(200, 599),
    text=HOSTILE,
    attempted_at=st.none() | st.just(NOW),
    retry_until=st.none() | st.just(NOW),
    log_id=st.none() | HOSTILE,
)
ORIGINALS = st.builds(
    Original,
    message=st.binary() | HOSTILE.map(lambda text: text.encode("utf-8", "replace")),
    mail_from=HOSTILE,
    arrived_at=st.just(ARRIVED),
    ret=st.sampled_from([None, "HDRS"]),
    envid=st.none() | HOSTILE,
)
HEAD = {"From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted", "MIME-Version"}
MESSAGE_FIELDS = ["Original-Envelope-Id", "Reporting-MTA", "Arrival-Date"]
RECIPIENT_FIELDS = [
    "Original-Recipient", "Final-Recipient", "Action", "Status", "Remote-MTA", "Diagnostic-Code",
    "Last-Attempt-Date", "Final-Log-Id", "Will-Retry-Until",
]  # fmt: skip


@given(ORIGINALS, st.lists(RECIPIENTS, min_size=1, max_size=3))
@example(
    ORIGINAL, [RecipientReport(address="\r\n\r\n--", action=Action.FAILED, status=None, text="\r\nAction: delivered")]
)
def test_no_text_breaks_the_structure(original: Original, recipients: list[RecipientReport]) -> None:
    octets = report(original, recipients, REPORTER, ID, NOW)
    message, (text, status, returned) = parts(octets)
    assert set(message.keys()) <= HEAD | {"Content-Type", "Content-Transfer-Encoding"}
    assert (text.get_content_type(), returned.get_content_type().partition("/")[0]) in {
        ("text/plain", "text"),
        ("text/plain", "message"),
    }
    assert octets.count(b"\n") == octets.count(b"\r\n") == octets.count(b"\r")
    assert b"\0" not in octets
    assert max(map(len, octets.split(b"\r\n"))) <= 998
    lines = octets.split(b"\r\n--")[2].partition(b"\r\n\r\n")[2].split(b"\r\n\r\n")
    names = [[line.partition(b":")[0].decode() for line in block.split(b"\r\n") if line[:1] != b" "] for block in lines]
    allowed = [MESSAGE_FIELDS, *[RECIPIENT_FIELDS] * len(recipients)]
    assert [[name for name in order if name in block] for order, block in zip(allowed, names, strict=True)] == [
        [name for name in block if name] for block in names
    ]
    assert status.get_content_type() in {"message/delivery-status", "message/global-delivery-status"}
