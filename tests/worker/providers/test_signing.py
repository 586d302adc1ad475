"""DKIM signatures as peers and APIs get them, checked by another implementation."""

import asyncio
import re
from typing import Any

import pytest

from backing.provider_configs import BadConfig
from mail.delivery import Outcome
from tests.worker.peer import EXTENSIONS, Peer
from tests.worker.providers.kinds import KINDS, Kind, api, built, raw_in, unstuffed
from tests.worker.providers.letters import B, C, attempt, envelope, outcomes
from tests.worker.providers.signatures import DKIM, PEM, secret, signed_by, signed_fields
from tests.worker.providers.site import Site

pytestmark = pytest.mark.anyio

MESSAGE = (
    b"Received: from app by relay; Thu, 26 Nov 2026 10:00:00 +0000\r\n"
    b"From: Shop <a@shop.example>\r\nTo: b@far.example\r\nSubject:  Hello \r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n"
    b"Message-ID: <1@shop.example>\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Transfer-Encoding: 8bit\r\n\r\n.\r\n..dots\r\nGr\xc3\xbc\xc3\x9fe  to\tyou \r\n\r\n"
)
RELAYS = [kind for kind in KINDS if not kind.over_http]
RAW_APIS = [kind for kind in KINDS if kind.over_http and kind.raw]


async def through_peer(
    kind: str, message: bytes, extensions: tuple[str, ...] = EXTENSIONS, dkim: dict[str, Any] = DKIM
) -> tuple[list[Outcome], list[bytes], Peer]:
    """What a peer gets of a message to two, and what it was told."""
    async with Peer(extensions=(*extensions, "AUTH PLAIN")).serving() as peer:
        relayed = kind.partition("-")[0] != "smtp"
        rest = {"smtp": peer.config, "correlate": True} if relayed else peer.config | {"username": "user"}
        async with built(kind.partition("-")[0], rest | {"dkim": dkim}, secret(password="hush")) as provider:
            results = await attempt(provider, envelope(B, C), message)
        return outcomes(results), [unstuffed(each) for each in peer.messages], peer


async def received(message: bytes, **dkim: Any) -> bytes:
    _, (arrived,), _ = await through_peer("smtp", message, dkim=DKIM | dkim)
    return arrived


@pytest.mark.parametrize("kind", RELAYS, ids=lambda kind: kind.name)
async def test_a_peer_gets_the_message_under_a_signature_that_holds(kind: Kind) -> None:
    results, (message,), peer = await through_peer(kind.name, MESSAGE)
    assert results == [Outcome.ACCEPTED] * 2
    assert signed_by(message) == "shop.example"
    assert message.endswith(MESSAGE)
    mail = next(command for command in peer.commands if command.startswith("MAIL"))
    assert mail == f"MAIL FROM:<a@shop.example> SIZE={len(message)} BODY=8BITMIME"


@pytest.mark.parametrize("kind", RELAYS, ids=lambda kind: kind.name)
async def test_what_is_recoded_for_a_peer_is_signed_as_it_gets_it(kind: Kind) -> None:
    results, (message,), peer = await through_peer(kind.name, MESSAGE, ("PIPELINING",))
    assert results == [Outcome.ACCEPTED] * 2
    assert signed_by(message) == "shop.example"
    assert message.isascii()
    assert b"Content-Transfer-Encoding: quoted-printable\r\n" in message
    assert "MAIL FROM:<a@shop.example>" in peer.commands


@pytest.mark.parametrize("kind", RAW_APIS, ids=lambda kind: kind.name)
async def test_an_api_gets_the_message_under_a_signature_that_holds(kind: Kind) -> None:
    async with Site([kind.plays["accepts"][0]]).serving() as site:
        usual = {"mailgun": {"domain": "mg.example"}}.get(kind.name, {})
        config = usual | {"endpoint": site.url, "dkim": DKIM}
        async with built(kind.name, config, secret(api_key="hush") if usual else secret()) as provider:
            assert outcomes(await attempt(provider, envelope(B), MESSAGE)) == [Outcome.ACCEPTED]
        message = raw_in(kind.name, site.requests[0])
    assert signed_by(message) == "shop.example"
    assert message.endswith(MESSAGE)


async def test_what_a_provider_writes_anew_is_not_signed() -> None:
    always = {"from", "to", "subject", "mime-version", "content-type", "content-transfer-encoding"}
    async with Site([KINDS[3].plays["accepts"][0]]).serving() as site:
        async with built("ses", {"endpoint": site.url, "dkim": DKIM}, secret()) as provider:
            await attempt(provider, envelope(B), MESSAGE)
        by_ses = raw_in("ses", site.requests[0])
    assert signed_fields(by_ses) == always
    changed = by_ses.replace(b"Message-ID: <1@shop", b"Message-ID: <other@ses").replace(
        b"10:00:00 +0000\r\nM", b"\r\nM"
    )
    assert changed != by_ses
    assert signed_by(changed) == "shop.example"
    _, (by_postmark,), _ = await through_peer("postmark", MESSAGE)
    assert signed_fields(by_postmark) == always | {"date"}
    by_wish = await received(MESSAGE, leave_out=["Date", "subject", "From"])
    assert signed_fields(by_wish) == (always | {"message-id"}) - {"subject"}


@pytest.mark.parametrize(
    ("sender", "signs"),
    [
        (b"a@shop.example", True),
        (b"Shop <a@News.SHOP.example>", True),
        (b"a@shop.example,\r\n b@news.shop.example", True),
        (b"a@other.example", False),
        (b"a@bigshop.example", False),
        (b"a@example", False),
        (b"a@shop.example, b@other.example", False),
        (b"a@shop.example\r\nFrom: b@other.example", False),
        (b"shop.example", False),
        (b"nobody:;", False),
        (b"\xff <a@shop.example>", False),
        (b",\r\n ".join([b"a@shop.example"] * 1_000), False),
    ],
)
async def test_only_mail_that_is_from_the_domain_is_signed(sender: bytes, *, signs: bool) -> None:
    message = MESSAGE.replace(b"Shop <a@shop.example>", sender)
    arrived = await received(message)
    assert signed_by(arrived) == ("shop.example" if signs else None)
    assert arrived.endswith(message)
    assert signs or arrived == message


@pytest.mark.parametrize(
    ("signature", "signs"),
    [
        (b"v=1; a=rsa-sha256; d=shop.example; s=own; b=abc", False),
        (b"v=1; a=rsa-sha256;\r\n\td =\r\n\t SHOP.example\r\n\t; b=abc", False),
        (b"d=shop.example", False),
        (b"v=1; bd=shop.example; d=news.shop.example; b=abc", True),
        (b"v=1; d=esp.example; b=abc", True),
        (b"v=1; d=" + "ü".encode() * 50_000, True),
        (b"", True),
    ],
    ids=["the same", "the same, folded", "alone", "below it", "another", "endless", "empty"],
)
async def test_what_the_client_has_signed_for_the_domain_is_not_signed_again(signature: bytes, *, signs: bool) -> None:
    message = b"DKIM-Signature: " + signature + b"\r\n" + MESSAGE
    arrived = await received(message)
    assert (len(re.findall(rb"^DKIM-Signature:", arrived, re.MULTILINE)), arrived.endswith(message)) == (
        1 + signs,
        True,
    )
    assert not signs or signed_by(arrived) == "shop.example"


async def test_a_large_message_is_signed_while_others_have_their_turn() -> None:
    large = MESSAGE + b"".join(b"%07d and  some more text \r\n" % n for n in range(200_000))
    async with Peer(extensions=("8BITMIME",)).serving() as peer:
        async with built("smtp", peer.config | {"dkim": DKIM}, secret()) as provider:
            both = await asyncio.gather(*(attempt(provider, envelope(B), each) for each in (large, MESSAGE)))
        assert [outcomes(each) for each in both] == [[Outcome.ACCEPTED]] * 2
        for message in peer.messages:
            assert signed_by(unstuffed(message)) == "shop.example"


async def test_a_connection_that_has_died_gets_a_message_with_one_signature() -> None:
    async with Peer({"MAIL": ["250 ok", "421 4.4.2 idle for too long", "250 ok"]}).serving() as peer:
        async with built("smtp", peer.config | {"dkim": DKIM}, secret()) as provider:
            for _ in range(2):
                assert outcomes(await attempt(provider, envelope(B), MESSAGE)) == [Outcome.ACCEPTED]
        assert [each.count(b"DKIM-Signature:") for each in peer.messages] == [1, 1]
        assert peer.sessions == 2


async def test_several_keys_can_wait_for_their_turn() -> None:
    async with Peer().serving() as peer:
        config = peer.config | {"dkim": DKIM | {"key": "dkim_key_next"}}
        async with built("smtp", config, secret(dkim_key_next=PEM, dkim_key="old and of no use")) as provider:
            await attempt(provider, envelope(B), MESSAGE)
        assert signed_by(unstuffed(peer.messages[0])) == "shop.example"


@pytest.mark.parametrize(
    ("dkim", "text", "fault"),
    [
        (DKIM, None, 'dkim: the secret has no "dkim_key"; store a JSON object'),
        (DKIM, "hush", 'dkim: the secret has no "dkim_key"; store a JSON object'),
        (DKIM | {"key": "dkim_key_2"}, secret(), 'dkim: the secret has no "dkim_key_2"'),
        (DKIM | {"key": "password"}, secret(password="hush"), "dkim.key: String should match"),
        ({"domain": "shop.example"}, secret(), "dkim.selector: Field required"),
        (DKIM | {"colour": "hush"}, secret(), "dkim.colour: there is no such key"),
        (DKIM | {"leave_out": ["to: x"]}, secret(), "dkim.leave_out.0: String should match"),
        (DKIM | {"domain": "no domain"}, secret(), "dkim: the domain 'no domain' is no domain name"),
        (DKIM, '{"dkim_key": "hush"}', "dkim: the private key is no PEM private key"),
    ],
)
async def test_a_wrong_configuration_is_named(dkim: dict[str, Any], text: str | None, fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        async with built("smtp", {"host": "127.0.0.1", "dkim": dkim}, text):
            pass
    assert str(raised.value).startswith(fault)
    assert "hush" not in str(raised.value)


@pytest.mark.parametrize("kind", ["sendgrid", "postmark"])
async def test_what_the_provider_writes_cannot_be_signed_and_there_is_one_place_to_ask_for_it(kind: str) -> None:
    with pytest.raises(BadConfig, match=r"^dkim: in mode api the provider writes the message itself"):
        async with built(kind, {"mode": "api", "dkim": DKIM}, secret(api_key="hush")):
            pass
    with pytest.raises(BadConfig, match=r"^smtp.dkim: dkim stands beside smtp, not in it$"):
        async with built(kind, {"smtp": {"dkim": DKIM}}, secret(api_key="hush")):
            pass
    async with api(f"{kind}-api", "http://127.0.0.1:1", dkim=None) as provider:
        assert provider.capabilities.max_octets
