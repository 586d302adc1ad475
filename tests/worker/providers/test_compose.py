"""Messages taken apart for APIs, and those that no API can be told, hostile ones among them."""

import pytest

from tests.worker.providers.mails import HEAD, PICTURE, PLAIN, PLAIN_HEAD, RICH, lines
from worker.providers.compose import Composed, File, Inexpressible, Mailbox, compose
from worker.providers.mapping import Audience, audiences

B, C = Mailbox("Bö", "B@far.example"), Mailbox("", "c@far.example")


def test_all_that_an_api_can_be_told() -> None:
    assert compose(RICH) == Composed(
        sender=Mailbox("Shop, the one", "a@shop.example"),
        to=(B, Mailbox("x, y", "other@far.example")),
        cc=(C,),
        reply_to=(Mailbox("", "help@shop.example"),),
        subject="Grüße to you",
        text="Grüße",
        html='<img src="cid:p1">',
        files=(
            File("attachment-1", "image/png", PICTURE, "p1", inline=True),
            File("Rechnung €.pdf", "application/pdf", b"%PDF", None, inline=False),
        ),
        headers=(
            ("Message-ID", "<1@shop.example>"),
            ("Date", "Thu, 26 Nov 2026 10:00:00 +0000"),
            ("List-Unsubscribe", "<https://u.example/" + "x" * 200 + ">"),
        ),
    )


def test_a_line_end_hidden_in_an_encoded_word_is_none() -> None:
    body = PLAIN.replace(b"Subject: hello", b"Subject: =?utf-8?q?a=0D=0ABcc:_x@y.example?=")
    assert compose(body).subject == "a  Bcc: x@y.example"


def test_raw_utf8_headers_are_read() -> None:
    assert compose(PLAIN.replace(b"hello", "Grüße".encode())).subject == "Grüße"


def test_who_is_in_to_and_cc_is_shown_there_and_the_rest_nowhere() -> None:
    message = compose(RICH)
    everybody = ["b@far.example", "C@far.example", "d@far.example", "d@far.example"]
    hidden = Mailbox("", "d@far.example")
    assert audiences(message, everybody) == [
        Audience((Mailbox("Bö", "b@far.example"),), (Mailbox("", "C@far.example"),), (hidden,))
    ]
    assert audiences(message, ["c@far.example", "d@far.example"]) == [Audience((C,)), Audience((hidden,))]


def part(*head: str, text: str = "x") -> bytes:
    return lines(*PLAIN_HEAD, "MIME-Version: 1.0", *head, "", text)


def mixed(kind: str, *parts: str) -> bytes:
    between = [line for each in parts for line in ("--b", each)]
    return lines(*PLAIN_HEAD, "MIME-Version: 1.0", f"Content-Type: {kind}; boundary=b", "", *between, "--b--")


TEXT, HTML = "Content-Type: text/plain\r\n\r\nx", "Content-Type: text/html\r\n\r\n<p>x"


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (mixed("multipart/signed", TEXT, "Content-Type: application/pkcs7-signature\r\n\r\nx"), "multipart/signed"),
        (mixed("multipart/encrypted", TEXT), "type multipart/encrypted"),
        (mixed("multipart/report", TEXT, "Content-Type: message/delivery-status\r\n\r\nx: y"), "multipart/report"),
        (mixed("multipart/alternative", TEXT, "Content-Type: text/calendar\r\n\r\nx"), "type text/calendar"),
        (mixed("multipart/mixed", TEXT, TEXT), "more than one text"),
        (mixed("multipart/mixed", TEXT, "Content-Type: message/rfc822\r\n\r\nSubject: x\r\n\r\nx"), "message/rfc822"),
        (mixed("multipart/mixed", TEXT, mixed("multipart/alternative", TEXT).decode()), "attachment of type multipart"),
        (mixed("multipart/alternative", HTML, HTML), "type text/html"),
        (part("Content-Type: application/pkcs7-mime"), "type application/pkcs7-mime"),
        (part("Content-Disposition: attachment"), "a file where its text"),
        (part("Content-Type: image/png"), "type image/png"),
        (part("Content-Type: text/plain; charset=x-unknown"), "cannot be read: unknown encoding"),
        (part("Content-Type: text/plain; charset=ascii", text="ä").replace(b"\xc3", b"\xff"), "cannot be read"),
        (part("Content-Transfer-Encoding: base64", text="%%%"), "encoding is damaged"),
        (part("Content-Type: multipart/mixed; boundary=b"), "type multipart/mixed"),
        (part(text=""), "no text and no HTML"),
        (lines("To: b@far.example", "", "x"), "From header"),
        (lines("From: a@s.example, b@s.example", "", "x"), "From header"),
        (lines("From: a@s.example <b@s.example>", "", "x"), "cannot be read"),
        (lines("From: a@shop.example", "Subject: =?nope?q?x?=", "", "x"), "cannot be read: unknown encoding"),
        (lines(*PLAIN_HEAD, *["X: y"] * 1001, "", "x"), "too many headers"),
        (lines(*PLAIN_HEAD, "X: " + "y" * 300_000, "", "x"), "too large"),
        (lines(*PLAIN_HEAD, "", *["--b"] * 2001), "too large"),
        (lines(f"From: {'(' * 5000}", "", "x"), "cannot be read"),
        (PLAIN.replace(b"hello", b"=?utf-8?q?a" * 20_000), "encoded words is too long"),
        (mixed("multipart/mixed", "Content-Type: text/plain; " + "a=b;" * 100_000 + "\r\n\r\nx"), "Content header"),
        (mixed("multipart/mixed", "\r\nmultipart/" * 5_000, "\r\nx" * 5_000), "too large"),
    ],
)
def test_what_an_api_cannot_be_told(body: bytes, reason: str) -> None:
    with pytest.raises(Inexpressible) as raised:
        compose(body)
    assert reason in str(raised.value)


def test_parts_nested_without_end_are_refused() -> None:
    nested = TEXT
    for n in range(900):
        nested = f"Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n{nested}\r\n--b{n}--"
    with pytest.raises(Inexpressible):
        compose(lines(*PLAIN_HEAD, nested))


def test_the_head_of_a_mail_alone_is_no_mail() -> None:
    with pytest.raises(Inexpressible, match="no text and no HTML"):
        compose(lines(*HEAD))
