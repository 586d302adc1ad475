"""Messages as programs write them."""

PICTURE = b"\x89PNG\r\n\x1a\n"


def lines(*text: str) -> bytes:
    return "\r\n".join([*text, ""]).encode()


HEAD = (
    "Received: from app by relay; Thu, 26 Nov 2026 10:00:00 +0000",
    'From: "Shop, the one" <a@shop.example>',
    'To: =?utf-8?q?B=C3=B6?= <B@far.example>, "x, y" <other@far.example>',
    "Cc: c@far.example",
    "Bcc: hidden@far.example",
    "Reply-To: help@shop.example",
    "Subject: =?utf-8?b?R3LDvMOfZQ==?= to",
    " you",
    "Message-ID: <1@shop.example>",
    "Date: Thu, 26 Nov 2026 10:00:00 +0000",
    "List-Unsubscribe: <https://u.example/" + "x" * 200 + ">",
    "X-SES-CONFIGURATION-SET: other",
    'X-SMTPAPI: {"to": ["stranger@far.example"]}',
    "DKIM-Signature: v=1; b=abc",
    "MIME-Version: 1.0",
)
# All that an API can be told.
RICH = lines(
    *HEAD,
    "Content-Type: multipart/mixed; boundary=m",
    "",
    "--m",
    "Content-Type: multipart/alternative; boundary=a",
    "",
    "--a",
    "Content-Type: text/plain; charset=iso-8859-1",
    "Content-Transfer-Encoding: quoted-printable",
    "",
    "Gr=FC=DFe",
    "--a",
    "Content-Type: multipart/related; boundary=r",
    "",
    "--r",
    "Content-Type: text/html; charset=utf-8",
    "",
    '<img src="cid:p1">',
    "--r",
    "Content-Type: image/png",
    "Content-ID: <p1>",
    "Content-Transfer-Encoding: base64",
    "",
    "iVBORw0KGgo=",
    "--r--",
    "--a--",
    "--m",
    "Content-Type: application/pdf",
    "Content-Disposition: attachment; filename*=utf-8''Rechnung%20%E2%82%AC.pdf",
    "Content-Transfer-Encoding: base64",
    "",
    "JVBERg==",
    "--m--",
)
PLAIN = lines(
    "From: a@shop.example", "To: b@far.example", "Cc: c@far.example", "Subject: hello", "Message-ID: <1@s>", "", "Hi"
)
PLAIN_HEAD = ("From: a@shop.example", "To: b@far.example", "Subject: hello")
