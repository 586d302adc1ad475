"""The SMTP provider against a peer that misbehaves by script: every answer is compared whole."""

import asyncio

import pytest

from mail.delivery import Outcome, RecipientResult, Scope
from mail.job import Recipient
from tests.conftest import free_port
from tests.worker.house import BODY
from tests.worker.peer import DROP, EXTENSIONS, HANG, Peer
from tests.worker.sending import B, C, D, all_of, attempt, envelope, provider

pytestmark = pytest.mark.anyio


async def test_what_a_peer_is_told() -> None:
    body = b"." + BODY + "ä\r\n".encode()
    async with Peer().serving() as peer:
        results = await attempt(
            peer,
            envelope(Recipient("b@far.example", "FAILURE", "rfc822;b@far.example"), C, eight_bit=True, ret="HDRS"),
            body,
        )
        assert results == all_of(Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken", 2)
        assert peer.commands[1:5] == [
            f"MAIL FROM:<a@shop.example> SIZE={len(body)} BODY=8BITMIME RET=HDRS",
            "RCPT TO:<b@far.example> NOTIFY=FAILURE ORCPT=rfc822;b@far.example",
            "RCPT TO:<c@far.example>",
            "DATA",
        ]
        assert peer.messages == [b"." + body.replace(b"\r\n.", b"\r\n..")]


async def test_a_peer_without_extensions_gets_none() -> None:
    async with Peer(extensions=()).serving() as peer:
        what = envelope(Recipient("b@far.example", "NEVER"), mail_from="", eight_bit=True, envid="e1")
        assert await attempt(peer, what, b"a") == all_of(Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken")
        assert peer.commands[1:3] == ["MAIL FROM:<>", "RCPT TO:<b@far.example>"]
        assert peer.messages == [b"a\r\n"]


async def test_smtputf8_is_asked_for_when_needed_and_refused_when_not_offered() -> None:
    what = envelope(Recipient("büro@far.example"), C)
    async with Peer().serving() as peer:
        await attempt(peer, what)
        assert peer.commands[1:3] == [
            f"MAIL FROM:<a@shop.example> SIZE={len(BODY)} SMTPUTF8",
            "RCPT TO:<büro@far.example>",
        ]
    async with Peer(extensions=("8BITMIME",)).serving() as peer:
        text = "the peer does not offer SMTPUTF8, which the message needs"
        assert await attempt(peer, what) == all_of(Outcome.MESSAGE_PERMANENT, None, "5.6.7", text, 2)
        assert peer.messages == []


async def test_each_recipient_has_its_own_result() -> None:
    script = {"RCPT c@far.example": "451 4.7.1 come again", "RCPT d@far.example": "550 5.1.1 no such user"}
    async with Peer(script).serving() as peer:
        assert await attempt(peer, envelope(B, C, D)) == [
            RecipientResult(0, Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken"),
            RecipientResult(1, Outcome.TEMPORARY, 451, "4.7.1", "4.7.1 come again"),
            RecipientResult(2, Outcome.PERMANENT, 550, "5.1.1", "5.1.1 no such user"),
        ]


@pytest.mark.parametrize(
    ("script", "outcome", "code", "enhanced", "text"),
    [
        ({"banner": "421 4.3.2 later"}, Outcome.PROVIDER_DOWN, 421, "4.3.2", "4.3.2 later"),
        ({"banner": "554 go away"}, Outcome.MISCONFIGURED, 554, None, "go away"),
        ({"banner": DROP}, Outcome.PROVIDER_DOWN, None, None, "connecting: *"),
        ({"banner": HANG}, Outcome.PROVIDER_DOWN, None, None, "connecting: no answer in time"),
        ({"banner": b"\x00\xff garbage\r\n"}, Outcome.PROVIDER_DOWN, None, None, "connecting: *"),
        ({"banner": b"220-" + b"x" * 70_000}, Outcome.PROVIDER_DOWN, None, None, "connecting: *"),
        ({"EHLO": "502 no"}, Outcome.MISCONFIGURED, 502, None, "no"),
        ({"MAIL": "530 5.7.0 sign in"}, Outcome.MISCONFIGURED, 530, "5.7.0", "5.7.0 sign in"),
        ({"MAIL": "550 5.7.1 not you"}, Outcome.MISCONFIGURED, 550, "5.7.1", "5.7.1 not you"),
        ({"MAIL": "554 Sending paused for this account"}, Outcome.MISCONFIGURED, 554, None, "Sending paused for *"),
        ({"MAIL": "553 5.1.8 bad sender"}, Outcome.PERMANENT, 553, "5.1.8", "5.1.8 bad sender"),
        ({"MAIL": "451 4.3.0 later"}, Outcome.TEMPORARY, 451, "4.3.0", "4.3.0 later"),
        ({"MAIL": "421 4.3.0 closing"}, Outcome.PROVIDER_DOWN, 421, "4.3.0", "4.3.0 closing"),
        ({"MAIL": HANG}, Outcome.PROVIDER_DOWN, None, None, "MAIL FROM: no answer in time"),
        ({"RCPT": "554 5.7.1 Relay access denied"}, Outcome.MISCONFIGURED, 554, "5.7.1", "5.7.1 Relay access denied"),
        ({"RCPT": "421 4.7.0 enough"}, Outcome.PROVIDER_DOWN, 421, "4.7.0", "4.7.0 enough"),
        ({"RCPT": DROP}, Outcome.PROVIDER_DOWN, None, None, "RCPT TO: *"),
        ({"DATA": "451 4.3.0 not now"}, Outcome.TEMPORARY, 451, "4.3.0", "4.3.0 not now"),
        ({"DATA": "250 what"}, Outcome.PROVIDER_DOWN, 250, None, "what"),
        ({"DATA": DROP}, Outcome.PROVIDER_DOWN, None, None, "DATA: *"),
        ({".": "250 ok"}, Outcome.ACCEPTED, 250, None, "ok"),
        ({".": "451 4.3.0 not now"}, Outcome.TEMPORARY, 451, "4.3.0", "4.3.0 not now"),
        ({".": "554 5.6.0 spam"}, Outcome.MESSAGE_PERMANENT, 554, "5.6.0", "5.6.0 spam"),
        ({".": "550 5.7.1 spam"}, Outcome.MESSAGE_PERMANENT, 550, "5.7.1", "5.7.1 spam"),
        ({".": "552 5.3.4 too big"}, Outcome.MESSAGE_PERMANENT, 552, "5.3.4", "5.3.4 too big"),
        ({".": "554 no"}, Outcome.MESSAGE_PERMANENT, 554, None, "no"),
        ({".": "550 5.1.1 no such user"}, Outcome.PERMANENT, 550, "5.1.1", "5.1.1 no such user"),
        (
            {".": "554 Message rejected: Email address is not verified. Identities: x"},
            Outcome.MISCONFIGURED,
            554,
            None,
            "Message rejected: *",
        ),
        ({"DATA": "554 5.7.1 not this"}, Outcome.MESSAGE_PERMANENT, 554, "5.7.1", "5.7.1 not this"),
        ({"MAIL": "552 too big"}, Outcome.MESSAGE_PERMANENT, 552, None, "too big"),
        ({"MAIL": "552 5.3.4 too big"}, Outcome.MESSAGE_PERMANENT, 552, "5.3.4", "5.3.4 too big"),
        ({"RCPT": "452 4.2.2 quota exceeded"}, Outcome.TEMPORARY, 452, "4.2.2", "4.2.2 quota exceeded"),
        ({".": "354 what"}, Outcome.UNKNOWN, 354, None, "what"),
        ({".": DROP}, Outcome.UNKNOWN, None, None, "waiting for the reply to the message: *"),
        ({".": HANG}, Outcome.UNKNOWN, None, None, "waiting for the reply to the message: no answer in time"),
        ({".": b"garbage\r\n"}, Outcome.UNKNOWN, None, None, "waiting for the reply to the message: *"),
        ({".": b"250-" + b"x" * 70_000}, Outcome.UNKNOWN, None, None, "waiting for the reply to the message: *"),
    ],
    ids=lambda value: "-".join(value) + "-" + str(next(iter(value.values())))[:14] if isinstance(value, dict) else "",
)
async def test_what_each_step_of_a_failing_peer_means(
    script: dict[str, str], outcome: Outcome, code: int | None, enhanced: str | None, text: str
) -> None:
    async with Peer(script).serving() as peer:
        results = await attempt(peer, envelope(B, C), seconds=3)
    words = results[0].text
    if text.endswith("*"):
        assert words.startswith(text[:-1])
        text = words
    assert results == all_of(outcome, code, enhanced, text, 2)
    assert len(words) <= 500
    assert words.isprintable()


async def test_nobody_listens() -> None:
    (result,) = await attempt(Peer(port=free_port()), envelope())
    assert (result.outcome, result.code) == (Outcome.PROVIDER_DOWN, None)


async def test_a_silent_peer_is_given_up_long_before_the_deadline() -> None:
    async with Peer({"MAIL": HANG}).serving() as peer:
        results = await attempt(peer, envelope(), seconds=1000, timeout=2.0)
        assert results == all_of(Outcome.PROVIDER_DOWN, None, None, "MAIL FROM: no answer in time")


async def test_a_slow_peer_is_waited_for() -> None:
    async with Peer(delay=0.05).serving() as peer:
        assert (await attempt(peer, envelope()))[0].outcome is Outcome.ACCEPTED


async def test_a_connection_that_breaks_inside_the_message_has_not_delivered_it() -> None:
    async with Peer({"body": DROP}, extensions=()).serving() as peer:
        (result,) = await attempt(peer, envelope(), b"x" * 70 + b"\r\n" * 20_000_000)
    assert (result.outcome, result.code) == (Outcome.PROVIDER_DOWN, None)
    assert result.text.startswith("sending the message: ")


async def test_a_large_message_arrives_whole() -> None:
    body = b"".join(b".%07d and some more text\r\n" % n for n in range(200_000))
    async with Peer(extensions=()).serving() as peer:
        assert (await attempt(peer, envelope(), body, seconds=20))[0].outcome is Outcome.ACCEPTED
        assert peer.messages[0].replace(b"\r\n..", b"\r\n.")[1:] == body


async def test_messages_that_no_peer_can_take_are_refused_before_one_is_asked() -> None:
    async with Peer(extensions=("SIZE 10",)).serving() as peer:
        for body in (b"a\nb\r\n", b"a\rb\r\n", b"a\r\n.\rb"):
            text = "the message has a bare CR or LF"
            assert await attempt(peer, envelope(), body) == all_of(Outcome.PERMANENT, None, "5.6.0", text)
        text = "the sender's address is malformed"
        for sender in ("a> SIZE=1", "a@b.example>\r\nRSET", "@a,@\x01:a@b.example", "a\udc80@b.example"):
            strange = envelope(mail_from=sender)
            assert await attempt(peer, strange) == all_of(Outcome.PERMANENT, None, "5.1.7", text)
        assert peer.commands == []
        text = f"the message has {len(BODY)} octets; the peer takes 10"
        results = await attempt(peer, envelope(B, Recipient("a b@far.example")))
        assert results == [
            RecipientResult(0, Outcome.MESSAGE_PERMANENT, None, "5.3.4", text),
            RecipientResult(1, Outcome.PERMANENT, None, "5.1.3", "the recipient's address is malformed"),
        ]


@pytest.mark.parametrize(
    ("reply", "result"),
    [
        ("454 Throttling failure", (Outcome.THROTTLED, None, None, Scope.RATE)),
        ("454 Throttling failure: Daily message quota exceeded.", (Outcome.THROTTLED, None, None, Scope.DAY)),
        ("454 Throttling failure: Maximum sending rate exceeded.", (Outcome.THROTTLED, None, None, Scope.RATE)),
        ("421 4.7.28 Our system has seen a lot of mail.", (Outcome.THROTTLED, "4.7.28", None, Scope.RATE)),
        ("421 4.7.0 Too many messages, wait 90s", (Outcome.THROTTLED, "4.7.0", 90.0, Scope.RATE)),
        ("550 5.4.5 Daily SMTP relay limit exceeded", (Outcome.THROTTLED, "5.4.5", None, Scope.DAY)),
        ("421 4.3.2 busy, retry in 2 hours", (Outcome.PROVIDER_DOWN, "4.3.2", 7200.0, None)),
        ("451 4.7.1 Greylisted, try again in 5 minutes", (Outcome.TEMPORARY, "4.7.1", 300.0, None)),
        ("450 4.2.0 Greylisted for 300 seconds", (Outcome.TEMPORARY, "4.2.0", 300.0, None)),
        ("451 Greylisting in action, please come back in 00:04:59", (Outcome.TEMPORARY, None, 299.0, None)),
        ("451 4.7.1 try again in 999999 hours", (Outcome.TEMPORARY, "4.7.1", 86_400.0, None)),
        ("451 4.7.1 try again in 0 seconds", (Outcome.TEMPORARY, "4.7.1", None, None)),
        ("451 4.7.1 try again later, error 31 in module 7", (Outcome.TEMPORARY, "4.7.1", None, None)),
        ("550 5.7.1 try again in 5 minutes", (Outcome.MESSAGE_PERMANENT, "5.7.1", None, None)),
    ],
)
async def test_a_peer_that_says_when_and_why_is_understood(
    reply: str, result: tuple[Outcome, str | None, float | None, Scope | None]
) -> None:
    outcome, enhanced, wait, scope = result
    async with Peer({".": reply}).serving() as peer:
        assert await attempt(peer, envelope()) == [
            RecipientResult(0, outcome, int(reply[:3]), enhanced, reply[4:], wait, scope)
        ]


@pytest.mark.parametrize("step", ["banner", "EHLO", "AUTH", "MAIL", "RCPT", "DATA", "."])
async def test_a_peer_may_say_at_any_step_that_it_gets_too_much(step: str) -> None:
    reply = "421 4.7.0 Too many connections, try again in 60 seconds"
    async with Peer({step: reply}, extensions=("AUTH PLAIN",)).serving() as peer:
        assert await attempt(peer, envelope(), secret="s3cret", username="user") == [
            RecipientResult(0, Outcome.THROTTLED, 421, "4.7.0", reply[4:], 60.0, Scope.RATE)
        ]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("2.0.0 Ok: queued as 4XyZ1a2b3c", "4XyZ1a2b3c"),
        ("2.0.0 from MTA(smtp:[127.0.0.1]:10025): 250 2.0.0 Ok: queued as 4XyZ1a2b3c", "4XyZ1a2b3c"),
        ("OK id=1rXyz2-000abc-4D", "1rXyz2-000abc-4D"),
        ("Ok 010001936f0a2bb2-2b2a1c5d-1111-4222-8333-944455566677-000000",) * 2,
        ("2.0.0 4AQ0abcd012345 Message accepted for delivery", "4AQ0abcd012345"),
        ("2.0.0 OK  1700000000 a1-20020a05.12 - gsmtp", "a1-20020a05.12"),
        ("2.6.0 <1@shop.example> [InternalId=12345, Hostname=ex.example] Queued mail for delivery", "12345"),
        ("Message Queued (A1B2-C3D4.1)", "A1B2-C3D4.1"),
        ("2.0.0 taken", None),
        ("Ok", None),
        ("queued as " + "x" * 129, None),
    ],
)
async def test_the_name_that_a_peer_gives_a_message_is_kept(words: str, name: str | None) -> None:
    name = name.removeprefix("Ok ") if name else None
    async with Peer({".": f"250 {words}"}).serving() as peer:
        (result,) = await attempt(peer, envelope())
        assert (result.outcome, result.text, result.provider_message_id) == (Outcome.ACCEPTED, words, name)


NOT_SEVEN_BIT = "Subject: a\r\n\r\nä\r\n".encode()


@pytest.mark.parametrize(
    ("extensions", "body"),
    [
        (("SIZE",), NOT_SEVEN_BIT),
        (EXTENSIONS, b"Subject: a\r\n\r\n" + b"x" * 999 + b"\r\n"),
        (EXTENSIONS, b"Subject: a\r\n\r\n" + b"x" * 999),
        (EXTENSIONS, b"x" * 2000 + b"\r\nmore\r\n"),
    ],
    ids=["eight bits", "a long line", "a long last line", "a very long line"],
)
async def test_what_a_peer_cannot_take_is_recoded(extensions: tuple[str, ...], body: bytes) -> None:
    async with Peer(extensions=extensions).serving() as peer:
        sender = await provider(peer, recode=lambda message: b"recoded from %d\r\n" % len(message))
        what, deadline = envelope(eight_bit=True), asyncio.get_running_loop().time() + 10
        assert await sender.send(what, body, deadline) == all_of(Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken")
        await sender.close()
        recoded = b"recoded from %d\r\n" % len(body)
        assert peer.messages == [recoded]
        assert peer.commands[1] == f"MAIL FROM:<a@shop.example> SIZE={len(recoded)}"


async def test_what_cannot_be_recoded_is_refused_only_where_the_peer_could_not_take_it() -> None:
    async with Peer(extensions=("SIZE",)).serving() as peer:
        text = "conversion not possible without breaking its signature"
        refused = all_of(Outcome.MESSAGE_PERMANENT, None, "5.6.3", text)
        assert await attempt(peer, envelope(eight_bit=True), NOT_SEVEN_BIT) == refused
        assert peer.messages == []
        long = b"x" * 2000 + b"\r\n"
        assert await attempt(peer, envelope(), long) == all_of(Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken")
        assert peer.messages == [long]


async def test_lines_as_long_as_they_may_be_go_on_as_they_are() -> None:
    body = (b"x" * 998 + b"\r\n") * 3 + b"y" * 998
    async with Peer(extensions=()).serving() as peer:
        assert await attempt(peer, envelope(), body) == all_of(Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken")
        assert peer.messages == [body + b"\r\n"]
