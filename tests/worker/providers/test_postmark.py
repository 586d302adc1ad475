"""Postmark: lossless over SMTP, by choice in JSON, where the code in the body decides."""

import base64
from typing import Any

import pytest

from backing.provider_configs import BadConfig
from mail.delivery import Outcome, RecipientResult
from mail.job import Recipient
from tests.worker.peer import Peer
from tests.worker.providers.kinds import POSTMARK_OK, SECRET, api, built, postmark_error
from tests.worker.providers.letters import B, C, D, attempt, envelope, outcomes
from tests.worker.providers.mails import PICTURE, PLAIN, RICH
from tests.worker.providers.site import Move, Says, Site
from worker.providers.base import Envelope

pytestmark = pytest.mark.anyio

OK = Says(200, POSTMARK_OK)
BAD_TO = postmark_error(422, 300, "Error parsing 'To': Illegal email address 'b@far.example'.")
INACTIVE = postmark_error(
    422,
    406,
    "You tried to send to recipient(s) that have been marked as inactive. Found inactive addresses: b@far.example. "
    "Inactive recipients are ones that have generated a hard bounce.",
)


async def answered(
    script: list[Move], what: Envelope, body: bytes = PLAIN, **config: Any
) -> tuple[list[RecipientResult], Site]:
    async with Site(script).serving() as site, api("postmark-api", site.url, **config) as provider:
        return await attempt(provider, what, body), site


async def test_what_the_api_is_told() -> None:
    what = envelope(B, C, D)
    results, site = await answered([OK], what, RICH, stream="broadcasts")
    (request,) = site.requests
    assert request.line == "POST /email HTTP/1.1"
    assert request.headers["x-postmark-server-token"] == SECRET
    assert request.document == {
        "MessageStream": "broadcasts",
        "Metadata": {"smtp_proxy_message": str(what.message_id), "smtp_proxy_key": str(what.key)},
        "From": '"Shop, the one" <a@shop.example>',
        "To": '"Bö" <b@far.example>',
        "Cc": "c@far.example",
        "Bcc": "d@far.example",
        "ReplyTo": "help@shop.example",
        "Subject": "Grüße to you",
        "TextBody": "Grüße",
        "HtmlBody": '<img src="cid:p1">',
        "Attachments": [
            {
                "Name": "attachment-1",
                "Content": base64.b64encode(PICTURE).decode(),
                "ContentType": "image/png",
                "ContentID": "cid:p1",
            },
            {"Name": "Rechnung €.pdf", "Content": "JVBERg==", "ContentType": "application/pdf"},
        ],
        "Headers": [
            {"Name": "Message-ID", "Value": "<1@shop.example>"},
            {"Name": "Date", "Value": "Thu, 26 Nov 2026 10:00:00 +0000"},
            {"Name": "List-Unsubscribe", "Value": "<https://u.example/" + "x" * 200 + ">"},
        ],
    }
    accepted = [
        RecipientResult(n, Outcome.ACCEPTED, None, None, "OK", provider_message_id="b7bc2f4a") for n in range(3)
    ]
    assert results == accepted


async def test_a_name_cannot_add_recipients() -> None:
    body = PLAIN.replace(b"To: b@far.example", b'To: "\\\\\\", d@far.example, \\"" <b@far.example>')
    _, site = await answered([OK], envelope(B), body)
    assert site.requests[0].document["To"] == r'"\\\", d@far.example, \"" <b@far.example>'


async def test_recipients_of_whom_no_header_tells_are_sent_to_one_by_one() -> None:
    results, site = await answered([OK], envelope(D, Recipient("e@far.example")))
    assert outcomes(results) == [Outcome.ACCEPTED] * 2
    shown = sorted((request.document["To"], request.document.get("Bcc")) for request in site.requests)
    assert shown == [("d@far.example", None), ("e@far.example", None)]


async def test_a_message_may_be_taken_for_some_only() -> None:
    words = (
        "Message OK, but will not deliver to these inactive addresses: c@far.example, D@far.example. "
        "Inactive recipients are ones that have generated a hard bounce."
    )
    results, site = await answered([Says(200, POSTMARK_OK | {"Message": words})], envelope(B, C, D))
    assert outcomes(results) == [Outcome.ACCEPTED, Outcome.PERMANENT, Outcome.PERMANENT]
    assert [each.provider_message_id for each in results] == ["b7bc2f4a", None, None]
    assert len(site.requests) == 1


@pytest.mark.parametrize("refusal", [BAD_TO, INACTIVE])
async def test_a_call_that_fails_for_one_address_is_made_for_each(refusal: Says) -> None:
    results, site = await answered([refusal, OK, refusal], envelope(B, C))
    assert sorted(outcomes(results)) == [Outcome.ACCEPTED, Outcome.PERMANENT]
    assert len(site.requests) == 3


@pytest.mark.parametrize(
    ("answer", "outcome", "text"),
    [
        (BAD_TO, Outcome.PERMANENT, "ErrorCode 300: Error parsing 'To': Illegal email address 'b@far.example'."),
        (postmark_error(422, 300, "Invalid 'From'"), Outcome.MESSAGE_PERMANENT, "ErrorCode 300: Invalid 'From'"),
        (postmark_error(422, 400), Outcome.MISCONFIGURED, "ErrorCode 400: no"),
        (postmark_error(422, 401), Outcome.MISCONFIGURED, "ErrorCode 401: no"),
        (postmark_error(422, 403), Outcome.MESSAGE_PERMANENT, "ErrorCode 403: no"),
        (postmark_error(422, 405), Outcome.MISCONFIGURED, "ErrorCode 405: no"),
        (postmark_error(422, 412), Outcome.MISCONFIGURED, "ErrorCode 412: no"),
        (postmark_error(422, 413), Outcome.MISCONFIGURED, "ErrorCode 413: no"),
        (postmark_error(422, 500), Outcome.MISCONFIGURED, "ErrorCode 500: no"),
        (postmark_error(422, 503), Outcome.MISCONFIGURED, "ErrorCode 503: no"),
        (postmark_error(422, 100), Outcome.PROVIDER_DOWN, "ErrorCode 100: no"),
        (postmark_error(422, 9999), Outcome.TEMPORARY, "ErrorCode 9999: no"),
        (Says(413, "<html>large</html>"), Outcome.MISCONFIGURED, "HTTP 413: <html>large</html>"),
        (Says(401, ""), Outcome.MISCONFIGURED, "HTTP 401: no reason given"),
        (
            Says(422, {"ErrorCode": 300, "Message": ["odd"]}),
            Outcome.MESSAGE_PERMANENT,
            "ErrorCode 300: no reason given",
        ),
        (Says(200, {"ErrorCode": "0"}), Outcome.UNKNOWN, 'HTTP 200: {"ErrorCode": "0"}'),
    ],
)
async def test_the_code_in_the_body_decides(answer: Says, outcome: Outcome, text: str) -> None:
    results, site = await answered([answer], envelope(B))
    assert results == [RecipientResult(0, outcome, None, None, text)]
    assert len(site.requests) == 1


async def test_by_smtp_headers_name_the_stream_and_the_message_only_if_wanted() -> None:
    what = envelope(B)
    metadata = (
        f"X-PM-Metadata-smtp_proxy_message: {what.message_id}\r\nX-PM-Metadata-smtp_proxy_key: {what.key}\r\n"
        "X-PM-Metadata-smtp_proxy_recipient: 0\r\n"
    )
    for config, header, evidence in (
        ({}, "", None),
        ({"stream": "broadcasts"}, "X-PM-Message-Stream: broadcasts\r\n", None),
        ({"correlate": True}, metadata, 120.0),
    ):
        async with Peer(extensions=("AUTH PLAIN",)).serving() as peer:
            async with built("postmark", {"smtp": peer.config} | config, SECRET) as provider:
                assert outcomes(await attempt(provider, what, PLAIN)) == [Outcome.ACCEPTED]
                capabilities = provider.capabilities
            both = base64.b64encode(f"\0{SECRET}\0{SECRET}".encode()).decode()
            assert peer.commands[1] == f"AUTH PLAIN {both}"
            assert peer.messages == [header.encode() + PLAIN]
            assert (capabilities.evidence_seconds, capabilities.rewrites_message_id) == (evidence, True)
            assert (capabilities.max_recipients, capabilities.max_octets) == (50, 10_000_000)


async def test_an_smtp_token_has_a_name_of_its_own() -> None:
    async with Peer(extensions=("AUTH PLAIN",)).serving() as peer:
        async with built("postmark", {"smtp": peer.config, "username": "PM-T-1"}, SECRET) as provider:
            await attempt(provider, envelope(B), PLAIN)
        assert peer.commands[1] == "AUTH PLAIN " + base64.b64encode(f"\0PM-T-1\0{SECRET}".encode()).decode()


@pytest.mark.parametrize(
    ("config", "secret", "fault"),
    [
        ({"stream": "no spaces"}, SECRET, "stream: String should match"),
        ({"smtp": {"port": 0}}, SECRET, "port: Input should be greater"),
        ({}, None, "secret: it needs a server token"),
    ],
)
async def test_a_wrong_configuration_is_named(config: dict[str, Any], secret: str | None, fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        async with built("postmark", config, secret):
            pass
    assert str(raised.value).startswith(fault)
