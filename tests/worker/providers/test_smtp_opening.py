"""How the SMTP provider is configured, and how it greets, encrypts and signs in."""

import hashlib
import ssl

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from backing.ids import new_id
from backing.provider_configs import BadConfig
from mail.delivery import Outcome
from tests.worker.peer import DROP, Peer
from tests.worker.sending import B, C, all_of, attempt, envelope
from worker.providers.base import Setup
from worker.providers.smtp import SmtpProvider

pytestmark = pytest.mark.anyio


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


@pytest.mark.parametrize(
    ("extension", "script", "commands"),
    [
        (
            "AUTH=LOGIN",
            {"AUTH": "334 UGFzc3dvcmQ6"},
            ["AUTH LOGIN dGlt", "dGFuc3RhYWZ0YW5zdGFhZg=="],
        ),
        # The example of RFC 2195, section 2.
        (
            "AUTH CRAM-MD5",
            {"AUTH": "334 PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+"},
            ["AUTH CRAM-MD5", "dGltIGI5MTNhNjAyYzdlZGE3YTQ5NWI0ZTZlNzMzNGQzODkw"],
        ),
    ],
)
async def test_challenges_are_answered(extension: str, script: dict[str, str], commands: list[str]) -> None:
    async with Peer(script, extensions=(extension,)).serving() as peer:
        (result,) = await attempt(peer, envelope(), secret="tanstaaftanstaaf", username="tim")
        assert (result.outcome, peer.commands[1:3]) == (Outcome.ACCEPTED, commands)
    async with Peer(script | {commands[1].upper(): "535 5.7.8 no"}, extensions=(extension,)).serving() as peer:
        results = await attempt(peer, envelope(), secret="tanstaaftanstaaf", username="tim")
        assert results == all_of(Outcome.MISCONFIGURED, 535, "5.7.8", "5.7.8 no")


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


@pytest.mark.parametrize("more", [b"250 injected\r\n", b"250 inj"])
async def test_what_follows_the_reply_to_starttls_in_the_clear_is_not_believed(
    authority: trustme.CA, server_context: ssl.SSLContext, more: bytes
) -> None:
    trusted = authority.cert_pem.bytes().decode()
    script = {"STARTTLS": b"220 go on\r\n" + more}
    async with Peer(script, extensions=("STARTTLS",), context=server_context).serving() as peer:
        (result,) = await attempt(peer, envelope(), tls="starttls", ca=trusted)
        assert (result.outcome, result.code) == (Outcome.PROVIDER_DOWN, None)
        assert result.text.startswith("connecting: it said ")
        assert [command.split(" ")[0] for command in peer.commands] == ["EHLO", "STARTTLS"]


async def test_a_refused_starttls_sends_nothing_in_the_clear(server_context: ssl.SSLContext) -> None:
    script = {"STARTTLS": "454 4.7.0 TLS not available"}
    async with Peer(script, extensions=("STARTTLS",), context=server_context).serving() as peer:
        results = await attempt(peer, envelope(), tls="starttls")
        assert results == all_of(Outcome.PROVIDER_DOWN, 454, "4.7.0", "4.7.0 TLS not available")
        assert [command.split(" ")[0] for command in peer.commands] == ["EHLO", "STARTTLS"]


async def test_opportunistic_tls_takes_what_it_gets(server_context: ssl.SSLContext) -> None:
    async with Peer(extensions=("STARTTLS",), context=server_context).serving() as peer:
        assert (await attempt(peer, envelope(), tls="opportunistic"))[0].outcome is Outcome.ACCEPTED
        assert "STARTTLS" in peer.commands
    async with Peer().serving() as peer:
        assert (await attempt(peer, envelope(), tls="opportunistic"))[0].outcome is Outcome.ACCEPTED
        text = "connecting: the peer does not offer STARTTLS, which is demanded"
        assert await attempt(peer, envelope(), tls="starttls") == all_of(Outcome.MISCONFIGURED, None, None, text)


async def test_a_large_message_goes_through_tls_whole_or_is_known_to_have_broken(
    authority: trustme.CA, server_context: ssl.SSLContext
) -> None:
    tls = {"tls": "implicit", "ca": authority.cert_pem.bytes().decode()}
    body = (b"x" * 70 + b"\r\n") * 300_000
    async with Peer(extensions=(), context=server_context, implicit=True).serving() as peer:
        (result,) = await attempt(peer, envelope(), body, seconds=30, **tls)
        assert (result.outcome, peer.messages) == (Outcome.ACCEPTED, [body])
    async with Peer({"body": DROP}, extensions=(), context=server_context, implicit=True).serving() as peer:
        (result,) = await attempt(peer, envelope(), body, seconds=30, **tls)
        assert (result.outcome, result.text[:21]) == (Outcome.PROVIDER_DOWN, "sending the message: ")


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
        assert answers == all_of(Outcome.MESSAGE_PERMANENT, 550, "5.7.30", "REQUIRETLS support required", 2)
        assert not any(command.startswith("MAIL") for command in peer.commands)


@pytest.mark.parametrize(
    ("config", "secret", "fault"),
    [
        ({}, None, "host: Field required"),
        ({"host": "h", "colour": "red"}, None, "colour: there is no such key"),
        ({"host": "h", "tls": "yes"}, None, "tls: Input should be"),
        ({"host": "h", "username": "u"}, None, "username: it needs a password"),
        ({"host": "h", "username": "u", "tls": "none"}, "s3cret", "would show the password"),
        ({"host": "h", "username": "u\0v"}, "s3cret", "can have a NUL"),
        ({"host": "h", "ca": "nonsense"}, None, "ca: "),
        ({"host": "h", "tls": "opportunistic", "pin": "0" * 64}, None, "pin: it needs tls"),
    ],
)
async def test_a_wrong_configuration_is_named(config: dict[str, object], secret: str | None, fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        await SmtpProvider.create(Setup(new_id(), "main", config, secret))
    assert fault in str(raised.value)
    assert "s3cret" not in str(raised.value)
