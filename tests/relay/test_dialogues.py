"""Whole dialogues, line by line: what a client says and what it hears."""

import re

import pytest

from tests.relay.house import PLAIN, Files, Running, relay

pytestmark = pytest.mark.anyio

MAIL = "MAIL FROM:<me@example.com>"
RCPT = "RCPT TO:<you@example.net>"
EXTENSIONS = (
    "250-relay.test\n250-PIPELINING\n250-SIZE 36700160\n250-8BITMIME\n250-SMTPUTF8\n250-ENHANCEDSTATUSCODES\n"
    "250-CHUNKING\n250-DSN\n250-LIMITS RCPTMAX=1000\n"
)
CAPABILITIES = f"{EXTENSIONS}250 STARTTLS"
FOREIGN_DOMAIN = (
    "550 5.7.1 Account shop may not send from example.org; allowed: *.mail.example.com, b\\xfccher.example, example.com"
)
Dialogue = list[tuple[str, str | None]]  # a reply of None may be any


async def transcript(running: Running, lines: list[str], *, signed_in: bool) -> list[str]:
    peer = await (running.signed_in() if signed_in else running.connect())
    if not signed_in:
        await peer.expect("220 relay.test ESMTP")
    heard = []
    for line in lines:
        peer.send(line.encode() + b"\r\n")
        heard.append(re.sub(r"ref=[a-z2-7]{16}", "ref=*", await peer.reply()))
    await peer.close()
    return heard


OPEN: dict[str, Dialogue] = {
    "EHLO offers STARTTLS and no AUTH": [
        (
            "EHLO a.example",
            CAPABILITIES,
        ),
        ("AUTH PLAIN AHUAcA==", "538 5.7.11 Encryption required for authentication: issue STARTTLS first"),
        (MAIL, "530 5.7.0 Must issue STARTTLS first"),
        ("QUIT", "221 2.0.0 Goodbye"),
    ],
    "before EHLO": [
        (MAIL, "503 5.5.1 Send EHLO first"),
        ("STARTTLS", "503 5.5.1 Send EHLO first"),
        ("AUTH PLAIN", "503 5.5.1 Send EHLO first"),
        ("NOOP", "250 2.0.0 OK"),
        ("NOOP with words", "250 2.0.0 OK"),
        ("RSET", "250 2.0.0 OK"),
        ("VRFY postmaster", "252 2.1.5 Cannot verify the address; send to it and see"),
        ("HELP", "214 2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA BDAT RSET NOOP VRFY HELP QUIT"),
        ("EXPN staff", "502 5.5.1 Command not implemented"),
        ("BDAT 0 LAST", "503 5.5.1 Send EHLO first"),
        ("FOO", "500 5.5.2 Command not recognized"),
        ("", "500 5.5.2 Command not recognized"),
        ("EHLO", "501 5.5.4 Give one name or address literal"),
        ("STARTTLS now", "501 5.5.4 STARTTLS takes no argument"),
        ("ehlo [127.0.0.1]", None),
        ("quit now", "501 5.5.4 QUIT takes no argument"),
        ("quit", "221 2.0.0 Goodbye"),
    ],
    "HELO": [("HELO old.example", "250 relay.test"), ("AUTH LOGIN", "503 5.5.1 Send EHLO first")],
    "a browser": [("GET / HTTP/1.1", "554 5.7.0 This is not a web server"), ("Host: x", "")],
    "octets a command may not have": [
        ("NOOP \x00", "500 5.5.2 A command has no control characters and ends in CRLF"),
        ("NOOP\nQUIT", "500 5.5.2 A command has no control characters and ends in CRLF"),
        ("NOOP\rQUIT", "500 5.5.2 A command has no control characters and ends in CRLF"),
        ("EHLO \x1b[31mred", "500 5.5.2 A command has no control characters and ends in CRLF"),
        ("NOOP", "250 2.0.0 OK"),
    ],
    "lines that are too long": [
        ("NOOP " + "x" * 2041, "250 2.0.0 OK"),
        ("NOOP " + "x" * 2042, "500 5.5.2 Line too long"),
        ("NOOP " + "x" * 20_000, "500 5.5.2 Line too long"),
        ("NOOP", "250 2.0.0 OK"),
    ],
}

SIGNED_IN: dict[str, Dialogue] = {
    "one message's envelope": [
        (MAIL, "250 2.1.0 Sender OK"),
        (RCPT, "250 2.1.5 Recipient OK"),
        ("RCPT TO:<you@EXAMPLE.net>", "250 2.1.5 Recipient OK"),
        ("RSET", "250 2.0.0 OK"),
        (RCPT, "503 5.5.1 Send MAIL first"),
    ],
    "order": [
        (RCPT, "503 5.5.1 Send MAIL first"),
        ("DATA", "503 5.5.1 Send MAIL first"),
        ("STARTTLS", "503 5.5.1 TLS is active already"),
        (f"AUTH PLAIN {PLAIN}", "503 5.5.1 Already signed in"),
        (MAIL, "250 2.1.0 Sender OK"),
        ("DATA", "503 5.5.1 No valid recipients"),
        (MAIL, "503 5.5.1 A transaction is open; RSET ends it"),
        ("EHLO again.example", f"{EXTENSIONS}250-REQUIRETLS\n250 AUTH PLAIN LOGIN"),
        (RCPT, "503 5.5.1 Send MAIL first"),
        (MAIL, "250 2.1.0 Sender OK"),
    ],
    "senders": [
        ("MAIL FROM:<>", "250 2.1.0 Sender OK"),
        ("RSET", "250 2.0.0 OK"),
        (
            "MAIL FROM:<me@example.org>",
            FOREIGN_DOMAIN,
        ),
        ("MAIL FROM:<me@a.mail.EXAMPLE.com> BODY=8bitmime SIZE=36700160", "250 2.1.0 Sender OK"),
        ("RSET", "250 2.0.0 OK"),
        ("mail from: <me@example.com>  RET=hdrs ENVID=Q+2B1 AUTH=<>", "250 2.1.0 Sender OK"),
        ("RSET", "250 2.0.0 OK"),
        ("MAIL FROM:<> REQUIRETLS BODY=7bit", "250 2.1.0 Sender OK"),
        ("RSET", "250 2.0.0 OK"),
        ("MAIL FROM:<me@bücher.example>", "553 5.6.7 A non-ASCII address needs SMTPUTF8"),
        ("MAIL FROM:<me@bücher.example> SMTPUTF8", "250 2.1.0 Sender OK"),
        ("RCPT TO:<ü@example.net>", "250 2.1.5 Recipient OK"),
    ],
    "bad MAIL": [
        ("MAIL", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("MAIL FROM:me@example.com", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("MAIL FROM:<me@example.com", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("MAIL TO:<me@example.com>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("MAIL FROM:<me@example.com>SIZE=1", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("MAIL FROM:<me.example.com>", "501 5.1.3 Bad address: an address needs a local part, @ and a domain"),
        ("MAIL FROM:<a..b@example.com>", "501 5.1.3 Bad address: the local part is malformed"),
        (f"{MAIL} SIZE=36700161", "552 5.3.4 Message too large; the limit is 36700160 octets"),
        (f"{MAIL} SIZE=1 SIZE=1", "501 5.5.4 Bad or repeated parameter SIZE"),
        (f"{MAIL} SIZE=-1", "501 5.5.4 Bad or repeated parameter SIZE"),
        (f"{MAIL} BODY=9BIT", "501 5.5.4 Bad or repeated parameter BODY"),
        (f"{MAIL} SMTPUTF8=yes", "501 5.5.4 Bad or repeated parameter SMTPUTF8"),
        (f"{MAIL} MT-PRIORITY=3", "555 5.5.4 Parameter not recognized"),
        (f"{MAIL} NOTIFY=NEVER", "555 5.5.4 Parameter not recognized"),
    ],
    "more bad MAIL": [
        (f"{MAIL} BODY=BINARYMIME", "555 5.5.4 BODY=BINARYMIME is not offered"),
        (f"{MAIL} REQUIRETLS=yes", "501 5.5.4 Bad or repeated parameter REQUIRETLS"),
        (f"{MAIL} RET=BODY", "501 5.5.4 Bad or repeated parameter RET"),
        (f"{MAIL} ENVID=", "501 5.5.4 Bad or repeated parameter ENVID"),
        (f"{MAIL} ENVID=a=b", "501 5.5.4 Bad or repeated parameter ENVID"),
        (f"{MAIL} ENVID=a+0D+0AX-Evil:", "501 5.5.4 Bad or repeated parameter ENVID"),
        (f"{MAIL} ENVID=a+7F", "501 5.5.4 Bad or repeated parameter ENVID"),
        (f"{MAIL} ENVID=a+2b", "501 5.5.4 Bad or repeated parameter ENVID"),
        (f"{MAIL} ENVID={'x' * 98}+2B", "501 5.5.4 Bad or repeated parameter ENVID"),
        (f"MAIL FROM:<{'x' * 65}@example.com>", "501 5.1.3 Bad address: the local part is longer than 64 octets"),
        (
            f"MAIL FROM:<x@{'d' * 61}.{'d' * 61}.{'d' * 61}.{'d' * 61}.example>",
            "501 5.1.3 Bad address: the address is longer than 254 octets",
        ),
        ("MAIL FROM:<a@b.co", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("MAIL FROM:<a@[192.0.2.999]>", "501 5.1.3 Bad address: the address literal is malformed"),
    ],
    "bad RCPT": [
        (MAIL, "250 2.1.0 Sender OK"),
        ("RCPT TO:<>", "501 5.1.3 Bad address: a recipient cannot be empty"),
        ("RCPT TO:<a@b_.>", "501 5.1.3 Bad address: the domain is malformed"),
        ("RCPT TO:<ü@example.net>", "553 5.6.7 A non-ASCII address needs SMTPUTF8"),
        ("RCPT FROM:<a@example.net>", "501 5.5.4 Syntax: RCPT TO:<address>"),
        ("RCPT TO:<a@example.net> NOTIFY=NEVER,SUCCESS", "501 5.5.4 Bad or repeated parameter NOTIFY"),
        ("RCPT TO:<a@example.net> NOTIFY=SUCCESS,DELAY,success", "501 5.5.4 Bad or repeated parameter NOTIFY"),
        ("RCPT TO:<a@example.net> NOTIFY=", "501 5.5.4 Bad or repeated parameter NOTIFY"),
        ("RCPT TO:<a@example.net> NOTIFY=NEVER NOTIFY=NEVER", "501 5.5.4 Bad or repeated parameter NOTIFY"),
        ("RCPT TO:<a@example.net> ORCPT=a@example.net", "501 5.5.4 Bad or repeated parameter ORCPT"),
        ("RCPT TO:<a@example.net> ORCPT=rfc822;a+0Ab", "501 5.5.4 Bad or repeated parameter ORCPT"),
        (f"RCPT TO:<a@example.net> ORCPT=rfc822;{'x' * 494}", "501 5.5.4 Bad or repeated parameter ORCPT"),
        (f"RCPT TO:<a@example.net> ORCPT=rfc822;{'x' * 493}", "250 2.1.5 Recipient OK"),
        ("RCPT TO:<a@example.net> SIZE=1", "555 5.5.4 Parameter not recognized"),
        ("RCPT TO:<a@example.net> NOTIFY=success,Delay ORCPT=rfc822;A+40example.net", "250 2.1.5 Recipient OK"),
        ('RCPT TO:<"a b>c"@example.net>', "250 2.1.5 Recipient OK"),
        ("RCPT TO:<@one.example,@two.example:c@example.net>", "250 2.1.5 Recipient OK"),
        ("RCPT TO:<d@[192.0.2.1]>", "250 2.1.5 Recipient OK"),
        ("RCPT TO:<d@[IPv6:2001:db8::1]>", "250 2.1.5 Recipient OK"),
        ("RCPT TO:<d@[IPv6:2001:db8::zz]>", "501 5.1.3 Bad address: the address literal is malformed"),
        ("RCPT TO:<you@example.net", "501 5.5.4 Syntax: RCPT TO:<address>"),
    ],
}


async def check(running: Running, dialogue: Dialogue, *, signed_in: bool) -> None:
    heard = await transcript(running, [line for line, _ in dialogue], signed_in=signed_in)
    assert [(line, reply) for (line, reply), _ in zip(dialogue, heard, strict=True) if reply is not None] == [
        (line, reply) for (line, expected), reply in zip(dialogue, heard, strict=True) if expected is not None
    ]


@pytest.mark.parametrize("name", OPEN)
async def test_before_tls(files: Files, name: str) -> None:
    async with relay(files) as running:
        await check(running, OPEN[name], signed_in=False)


@pytest.mark.requirement("CORE-SMTP-002")
@pytest.mark.requirement("CORE-SMTP-003")
@pytest.mark.parametrize("name", SIGNED_IN)
async def test_signed_in(files: Files, name: str) -> None:
    async with relay(files) as running:
        await check(running, SIGNED_IN[name], signed_in=True)
