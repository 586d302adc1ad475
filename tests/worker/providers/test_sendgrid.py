"""SendGrid: lossless over SMTP, by choice in JSON, and what each answer means."""

import base64
from typing import Any

import pytest

from backing.provider_configs import BadConfig
from mail.delivery import Outcome, RecipientResult
from mail.job import Recipient
from tests.worker.peer import Peer
from tests.worker.providers.kinds import SECRET, api, built
from tests.worker.providers.letters import B, C, D, attempt, envelope, outcomes
from tests.worker.providers.mails import PICTURE, PLAIN, RICH
from tests.worker.providers.site import Move, Says, Site
from worker.providers.base import Envelope

pytestmark = pytest.mark.anyio

OK = Says(202, "", {"X-Message-Id": "sg-1"})


async def answered(script: list[Move], what: Envelope, body: bytes = PLAIN) -> tuple[list[RecipientResult], Site]:
    async with Site(script).serving() as site, api("sendgrid-api", site.url) as provider:
        return await attempt(provider, what, body), site


async def test_what_the_api_is_told() -> None:
    what = envelope(B, C, D)
    results, site = await answered([OK], what, RICH)
    (request,) = site.requests
    assert request.line == "POST /v3/mail/send HTTP/1.1"
    assert request.headers["authorization"] == f"Bearer {SECRET}"
    assert request.document == {
        "custom_args": {"smtp_proxy_message": str(what.message_id), "smtp_proxy_key": str(what.key)},
        "personalizations": [
            {
                "to": [{"email": "b@far.example", "name": "Bö"}],
                "cc": [{"email": "c@far.example"}],
                "bcc": [{"email": "d@far.example"}],
            }
        ],
        "from": {"email": "a@shop.example", "name": "Shop, the one"},
        "reply_to_list": [{"email": "help@shop.example"}],
        "subject": "Grüße to you",
        "content": [
            {"type": "text/plain", "value": "Grüße"},
            {"type": "text/html", "value": '<img src="cid:p1">'},
        ],
        "attachments": [
            {
                "content": base64.b64encode(PICTURE).decode(),
                "type": "image/png",
                "filename": "attachment-1",
                "disposition": "inline",
                "content_id": "p1",
            },
            {
                "content": "JVBERg==",
                "type": "application/pdf",
                "filename": "Rechnung €.pdf",
                "disposition": "attachment",
            },
        ],
        "headers": {
            "Message-ID": "<1@shop.example>",
            "Date": "Thu, 26 Nov 2026 10:00:00 +0000",
            "List-Unsubscribe": "<https://u.example/" + "x" * 200 + ">",
        },
    }
    accepted = [
        RecipientResult(n, Outcome.ACCEPTED, None, None, "HTTP 202", provider_message_id="sg-1") for n in range(3)
    ]
    assert results == accepted


async def test_recipients_of_whom_no_header_tells_have_copies_of_their_own() -> None:
    _, site = await answered([OK], envelope(D, Recipient("e@far.example")))
    assert site.requests[0].document["personalizations"] == [
        {"to": [{"email": "d@far.example"}]},
        {"to": [{"email": "e@far.example"}]},
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (RICH.replace(b"multipart/mixed", b"multipart/signed"), "it has a part of type multipart/signed where"),
        (PLAIN.replace(b"Subject: hello\r\n", b""), "it has no subject"),
        (PLAIN.replace(b"Message-ID", b"X-A: 1\r\nx-a: 2\r\nMessage-ID"), "it has a header more than once"),
    ],
)
async def test_a_message_that_the_api_cannot_be_told_is_not_sent(body: bytes, reason: str) -> None:
    (result,), site = await answered([OK], envelope(B), body)
    assert (result.outcome, result.enhanced) == (Outcome.MESSAGE_PERMANENT, "5.6.3")
    assert result.text.startswith(f"mode api cannot send this message: {reason}")
    assert result.text.endswith("; use mode smtp")
    assert site.requests == []


async def test_a_large_message_arrives_whole() -> None:
    (result,), site = await answered([OK], envelope(B), PLAIN + b"0123456789\r\n" * 200_000)
    assert result.outcome is Outcome.ACCEPTED
    assert site.requests[0].document["content"][0]["value"] == "Hi\r\n" + "0123456789\r\n" * 200_000


@pytest.mark.parametrize(
    ("answer", "outcome", "text"),
    [
        (Says(400, {"errors": [{"message": "a"}, {"message": "b"}]}), Outcome.MESSAGE_PERMANENT, "HTTP 400: a; b"),
        (Says(404, {"errors": "odd"}), Outcome.MISCONFIGURED, 'HTTP 404: {"errors": "odd"}'),
        (Says(200, "sandbox"), Outcome.UNKNOWN, "HTTP 200: sandbox"),
        (Says(500, ""), Outcome.UNKNOWN, "HTTP 500: no reason given"),
    ],
)
async def test_what_an_answer_means(answer: Says, outcome: Outcome, text: str) -> None:
    results, _ = await answered([answer], envelope(B))
    assert results == [RecipientResult(0, outcome, None, None, text)]


async def test_by_smtp_events_name_the_message_only_if_wanted() -> None:
    what = envelope(B)
    for correlate in (False, True):
        async with Peer(extensions=("AUTH PLAIN",)).serving() as peer:
            config = {"smtp": peer.config, "correlate": correlate}
            async with built("sendgrid", config, SECRET) as provider:
                assert outcomes(await attempt(provider, what, PLAIN)) == [Outcome.ACCEPTED]
                capabilities = provider.capabilities
            assert peer.commands[1] == "AUTH PLAIN AGFwaWtleQBodXNoLWh1c2gtMDEyMzQ1Njc4OQ=="
            header = (
                f'X-SMTPAPI: {{"unique_args": {{"smtp_proxy_message": "{what.message_id}", '
                f'"smtp_proxy_key": "{what.key}", "smtp_proxy_recipient": "0"}}}}\r\n'
            ).encode()
            assert peer.messages == [(header if correlate else b"") + PLAIN]
            assert capabilities.evidence_seconds == (120.0 if correlate else None)
            assert (capabilities.verified_tls, capabilities.max_octets) == (False, 30_000_000)


@pytest.mark.parametrize(
    ("config", "secret", "fault"),
    [
        ({"mode": "fax"}, SECRET, "mode: Input should be"),
        ({"smtp": {"colour": "red"}}, SECRET, "colour: there is no such key"),
        ({}, None, "secret: it needs an API key"),
    ],
)
async def test_a_wrong_configuration_is_named(config: dict[str, Any], secret: str | None, fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        async with built("sendgrid", config, secret):
            pass
    assert str(raised.value).startswith(fault)
