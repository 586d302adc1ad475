"""The SMTP provider against a peer that misbehaves by script: every answer is compared whole."""

import asyncio
import hashlib
import ssl
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from backing.ids import new_id
from mail.delivery import Outcome, RecipientResult
from mail.job import Recipient
from tests.conftest import free_port
from tests.worker.house import BODY
from tests.worker.peer import DROP, HANG, Peer
from worker.providers.base import BadConfig, Envelope, Setup
from worker.providers.smtp import SmtpProvider

pytestmark = pytest.mark.anyio

B, C, D = Recipient("b@far.example"), Recipient("c@far.example"), Recipient("d@far.example")


def envelope(*recipients: Recipient, **changes: Any) -> Envelope:
    listed = tuple(enumerate(recipients or (B,)))
    return Envelope(message_id=new_id(), recipients=listed, **({"mail_from": "a@shop.example"} | changes))


async def provider(peer: Peer, secret: str | None = None, **config: object) -> SmtpProvider:
    return await SmtpProvider.create(Setup(new_id(), "main", peer.config | config, secret))


async def attempt(
    peer: Peer, what: Envelope, body: bytes = BODY, *, seconds: float = 5.0, secret: str | None = None, **config: object
) -> list[RecipientResult]:
    sender = await provider(peer, secret, **config)
    try:
        return await sender.send(what, body, asyncio.get_running_loop().time() + seconds)
    finally:
        await sender.close()


def all_of(
    outcome: Outcome, code: int | None, enhanced: str | None, text: str, count: int = 1
) -> list[RecipientResult]:
    return [RecipientResult(n, outcome, code, enhanced, text) for n in range(count)]


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
        assert await attempt(peer, what, "ä".encode()) == all_of(Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken")
        assert peer.commands[1:3] == ["MAIL FROM:<>", "RCPT TO:<b@far.example>"]
        assert peer.messages == ["ä\r\n".encode()]


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
        assert await attempt(peer, what) == all_of(Outcome.PERMANENT, None, "5.6.7", text, 2)
        assert peer.messages == []


async def test_each_recipient_has_its_own_result() -> None:
    script = {"RCPT c@far.example": "451 4.7.1 come again", "RCPT d@far.example": "550 5.1.1 no such user"}
    async with Peer(script).serving() as peer:
        assert await attempt(peer, envelope(B, C, D)) == [
            RecipientResult(0, Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken"),
            RecipientResult(1, Outcome.TEMPORARY, 451, "4.7.1", "4.7.1 come again"),
            RecipientResult(2, Outcome.PERMANENT, 550, "5.1.1", "5.1.1 no such user"),
        ]


async def test_more_recipients_than_the_peer_takes_go_in_several_transactions() -> None:
    script = {"RCPT": ["250 ok", "250 ok", "452 4.5.3 too many", "250 ok", "452 4.5.3 too many", "452 4.5.3 none now"]}
    recipients = [Recipient(f"r{n}@far.example") for n in range(5)]
    async with Peer(script).serving() as peer:
        assert await attempt(peer, envelope(*recipients)) == [
            *all_of(Outcome.ACCEPTED, 250, "2.0.0", "2.0.0 taken", 3),
            RecipientResult(3, Outcome.TEMPORARY, 452, "4.5.3", "4.5.3 none now"),
            RecipientResult(4, Outcome.TEMPORARY, 452, "4.5.3", "4.5.3 none now"),
        ]
        assert (len(peer.messages), peer.sessions) == (2, 1)


@pytest.mark.parametrize(
    ("script", "outcome", "code", "enhanced", "text"),
    [
        ({"banner": "421 4.3.2 later"}, Outcome.PROVIDER_DOWN, 421, "4.3.2", "4.3.2 later"),
        ({"banner": "554 go away"}, Outcome.MISCONFIGURED, 554, None, "go away"),
        ({"banner": DROP}, Outcome.PROVIDER_DOWN, None, None, "connecting: *"),
        ({"banner": HANG}, Outcome.PROVIDER_DOWN, None, None, "connecting: Timed out*"),
        ({"banner": b"\x00\xff garbage\r\n"}, Outcome.PROVIDER_DOWN, None, None, "connecting: *"),
        ({"banner": b"220-" + b"x" * 70_000}, Outcome.PROVIDER_DOWN, None, None, "connecting: *"),
        ({"EHLO": "502 no"}, Outcome.MISCONFIGURED, 502, None, "no"),
        ({"MAIL": "530 5.7.0 sign in"}, Outcome.MISCONFIGURED, 530, "5.7.0", "5.7.0 sign in"),
        ({"MAIL": "550 5.7.1 not you"}, Outcome.MISCONFIGURED, 550, "5.7.1", "5.7.1 not you"),
        ({"MAIL": "553 5.1.8 bad sender"}, Outcome.PERMANENT, 553, "5.1.8", "5.1.8 bad sender"),
        ({"MAIL": "451 4.3.0 later"}, Outcome.TEMPORARY, 451, "4.3.0", "4.3.0 later"),
        ({"MAIL": "421 4.3.0 closing"}, Outcome.PROVIDER_DOWN, 421, "4.3.0", "4.3.0 closing"),
        ({"MAIL": HANG}, Outcome.PROVIDER_DOWN, None, None, "MAIL FROM: Timed out*"),
        ({"RCPT": "554 5.7.1 Relay access denied"}, Outcome.MISCONFIGURED, 554, "5.7.1", "5.7.1 Relay access denied"),
        ({"RCPT": "421 4.7.0 enough"}, Outcome.PROVIDER_DOWN, 421, "4.7.0", "4.7.0 enough"),
        ({"RCPT": DROP}, Outcome.PROVIDER_DOWN, None, None, "RCPT TO: *"),
        ({"DATA": "451 4.3.0 not now"}, Outcome.TEMPORARY, 451, "4.3.0", "4.3.0 not now"),
        ({"DATA": "250 what"}, Outcome.PROVIDER_DOWN, 250, None, "what"),
        ({"DATA": DROP}, Outcome.PROVIDER_DOWN, None, None, "DATA: *"),
        ({".": "250 ok"}, Outcome.ACCEPTED, 250, None, "ok"),
        ({".": "451 4.3.0 not now"}, Outcome.TEMPORARY, 451, "4.3.0", "4.3.0 not now"),
        ({".": "454 Throttling failure"}, Outcome.THROTTLED, 454, None, "Throttling failure"),
        ({".": "554 5.6.0 spam"}, Outcome.PERMANENT, 554, "5.6.0", "5.6.0 spam"),
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
        results = await attempt(peer, envelope(B, C), seconds=2)
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
        strange = envelope(mail_from="a> SIZE=1")
        assert await attempt(peer, strange) == all_of(Outcome.PERMANENT, None, "5.1.7", text)
        assert peer.commands == []
        text = f"the message has {len(BODY)} octets; the peer takes 10"
        results = await attempt(peer, envelope(B, Recipient("a b@far.example")))
        assert results == [
            RecipientResult(0, Outcome.PERMANENT, None, "5.3.4", text),
            RecipientResult(1, Outcome.PERMANENT, None, "5.1.3", "the recipient's address is malformed"),
        ]


async def test_signing_in() -> None:
    extensions = ("AUTH CRAM-MD5 LOGIN PLAIN",)
    async with Peer(extensions=extensions).serving() as peer:
        await attempt(peer, envelope(), secret="s3cret", username="user")
        assert peer.commands[1] == "AUTH PLAIN AHVzZXIAczNjcmV0"
    for reply, outcome in (("535 5.7.8 no", Outcome.MISCONFIGURED), ("454 4.7.0 later", Outcome.PROVIDER_DOWN)):
        async with Peer({"AUTH": reply}, extensions=extensions).serving() as peer:
            code, text = int(reply[:3]), reply[4:]
            results = await attempt(peer, envelope(), secret="s3cret", username="user")
            assert results == all_of(outcome, code, text[:5], text)
            assert len([each for each in peer.commands if each.startswith("AUTH")]) == 1
    async with Peer().serving() as peer:
        text = "signing in: the peer offers none of plain, login, cram-md5"
        results = await attempt(peer, envelope(), secret="s3cret", username="user")
        assert results == all_of(Outcome.MISCONFIGURED, None, None, text)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def certificate(authority: trustme.CA) -> trustme.LeafCert:
    return authority.issue_cert("127.0.0.1")


@pytest.fixture(scope="module")
def server_context(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def pin_of(certificate: trustme.LeafCert) -> str:
    """The pin as `openssl x509 -pubkey` and `openssl pkey -pubin -outform der | sha256sum` make it."""
    key = x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).public_key()
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("implicit", [True, False])
async def test_tls_is_verified(authority: trustme.CA, server_context: ssl.SSLContext, implicit: bool) -> None:  # noqa: FBT001
    tls, trusted = "implicit" if implicit else "starttls", authority.cert_pem.bytes().decode()
    listening = Peer(extensions=("STARTTLS",), context=server_context, implicit=implicit)
    async with listening.serving() as peer:
        assert (await attempt(peer, envelope(), tls=tls, ca=trusted))[0].outcome is Outcome.ACCEPTED
        (untrusted,) = await attempt(peer, envelope(), tls=tls)
        assert (untrusted.outcome, untrusted.code) == (Outcome.MISCONFIGURED, None)
        assert "certificate verify failed" in untrusted.text
        (wrong_name,) = await attempt(peer, envelope(), tls=tls, ca=trusted, host="localhost")
        assert wrong_name.outcome is Outcome.MISCONFIGURED
        assert len(peer.messages) == 1


@pytest.mark.requirement("TLS-015")
async def test_a_pinned_public_key_is_demanded(
    authority: trustme.CA, certificate: trustme.LeafCert, server_context: ssl.SSLContext
) -> None:
    trusted, stranger = authority.cert_pem.bytes().decode(), authority.issue_cert("127.0.0.1")
    async with Peer(extensions=("STARTTLS",), context=server_context).serving() as peer:
        (other,) = await attempt(peer, envelope(), tls="starttls", ca=trusted, pin=pin_of(stranger))
        text = "connecting: the peer's public key is not the pinned one"
        assert [other] == all_of(Outcome.MISCONFIGURED, None, None, text)
        assert peer.messages == []
        (pinned,) = await attempt(peer, envelope(), tls="starttls", ca=trusted, pin=pin_of(certificate))
        assert pinned.outcome is Outcome.ACCEPTED


async def test_opportunistic_tls_takes_what_it_gets(server_context: ssl.SSLContext) -> None:
    async with Peer(extensions=("STARTTLS",), context=server_context).serving() as peer:
        assert (await attempt(peer, envelope(), tls="opportunistic"))[0].outcome is Outcome.ACCEPTED
        assert "STARTTLS" in peer.commands
    async with Peer().serving() as peer:
        assert (await attempt(peer, envelope(), tls="opportunistic"))[0].outcome is Outcome.ACCEPTED
        text = "connecting: the peer does not offer STARTTLS, which is demanded"
        assert await attempt(peer, envelope(), tls="starttls") == all_of(Outcome.MISCONFIGURED, None, None, text)


async def test_requiretls_goes_on_with_the_message_or_not_at_all(
    authority: trustme.CA, server_context: ssl.SSLContext
) -> None:
    trusted, demanding = authority.cert_pem.bytes().decode(), envelope(B, C, require_tls=True)
    extensions = ("STARTTLS", "REQUIRETLS")
    async with Peer(extensions=extensions, context=server_context).serving() as peer:
        assert (await attempt(peer, demanding, tls="starttls", ca=trusted))[0].outcome is Outcome.ACCEPTED
        assert "MAIL FROM:<a@shop.example> REQUIRETLS" in peer.commands
    async with Peer(extensions=("STARTTLS",), context=server_context).serving() as peer:
        answers = await attempt(peer, demanding, tls="starttls", ca=trusted)
        assert answers == all_of(Outcome.PERMANENT, 550, "5.7.30", "REQUIRETLS support required", 2)
        assert not any(command.startswith("MAIL") for command in peer.commands)


async def test_connections_are_kept_and_only_while_they_live() -> None:
    listening = Peer()
    async with listening.serving() as peer:
        sender, deadline = await provider(peer, max_messages=3), asyncio.get_running_loop().time() + 10
        for _ in range(3):
            await sender.send(envelope(), BODY, deadline)
        assert (peer.sessions, len(peer.messages)) == (1, 3)
        await sender.send(envelope(), BODY, deadline)
        assert peer.sessions == 2
    async with listening.serving() as peer:
        assert (await sender.send(envelope(), BODY, deadline))[0].outcome is Outcome.ACCEPTED
        assert (peer.sessions, len(peer.messages)) == (3, 5)
        await sender.close()


@pytest.mark.parametrize("end", ["421 4.4.2 idle for too long", DROP])
async def test_a_kept_connection_that_ends_at_mail_is_replaced(end: str) -> None:
    async with Peer({"MAIL": ["250 ok", end, "250 ok"]}).serving() as peer:
        sender, deadline = await provider(peer), asyncio.get_running_loop().time() + 10
        outcomes = [(await sender.send(envelope(), BODY, deadline))[0].outcome for _ in range(2)]
        await sender.close()
        assert outcomes == [Outcome.ACCEPTED] * 2
        assert (peer.sessions, len(peer.messages)) == (2, 2)


async def test_no_more_connections_than_allowed() -> None:
    async with Peer(delay=0.01).serving() as peer:
        sender, deadline = await provider(peer, max_connections=2), asyncio.get_running_loop().time() + 10
        results = await asyncio.gather(*(sender.send(envelope(), BODY, deadline) for _ in range(8)))
        await sender.close()
        assert {result.outcome for (result,) in results} == {Outcome.ACCEPTED}
        assert peer.sessions == 2


@pytest.mark.parametrize(
    ("config", "secret", "fault"),
    [
        ({}, None, "host: Field required"),
        ({"host": "h", "colour": "red"}, None, "colour: Extra inputs"),
        ({"host": "h", "tls": "yes"}, None, "tls: Input should be"),
        ({"host": "h", "username": "u"}, None, "username: it needs a password"),
        ({"host": "h", "username": "u", "tls": "none"}, "s3cret", "would show the password"),
        ({"host": "h", "ca": "nonsense"}, None, "ca: "),
        ({"host": "h", "tls": "opportunistic", "pin": "0" * 64}, None, "pin: it needs tls"),
    ],
)
async def test_a_wrong_configuration_is_named(config: dict[str, object], secret: str | None, fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        await SmtpProvider.create(Setup(new_id(), "main", config, secret))
    assert fault in str(raised.value)
    assert "s3cret" not in str(raised.value)
