"""Mailgun: the form it gets, and what each of its answers means."""

from typing import Any

import pytest

from backing.provider_configs import BadConfig
from mail.delivery import Outcome, RecipientResult
from tests.worker.providers.kinds import SECRET, api, built, form
from tests.worker.providers.letters import B, C, D, attempt, envelope, outcomes
from tests.worker.providers.site import Move, Says, Site
from worker.providers.base import Capabilities, Envelope

pytestmark = pytest.mark.anyio

RAW = b"From: a@shop.example\r\nTo: b@far.example\r\n\r\n--\r\n\x00\xff\r\n\r\n"
OK = Says(200, {"id": "<1@mg.example>", "message": "Queued. Thank you."})
REFUSED = Says(400, {"message": "to parameter is not a valid address. please check documentation"})


async def answered(script: list[Move], what: Envelope, **config: Any) -> tuple[list[RecipientResult], Site]:
    async with Site(script).serving() as site, api("mailgun", site.url, **config) as provider:
        return await attempt(provider, what, RAW), site


async def test_what_mailgun_is_told() -> None:
    what = envelope(B, C)
    results, site = await answered([OK], what, tag="orders", test_mode=True)
    (request,) = site.requests
    assert request.line == "POST /v3/mg.example/messages.mime HTTP/1.1"
    assert request.headers["authorization"] == "Basic YXBpOmh1c2gtaHVzaC0wMTIzNDU2Nzg5"
    assert form(request) == [
        ("to", b"b@far.example"),
        ("to", b"c@far.example"),
        ("o:tag", b"orders"),
        ("o:testmode", b"yes"),
        ("v:smtp_proxy_message", str(what.message_id).encode()),
        ("v:smtp_proxy_key", str(what.key).encode()),
        ("message", RAW),
    ]
    text, named = "HTTP 200: Queued. Thank you.", "1@mg.example"
    assert results == [
        RecipientResult(n, Outcome.ACCEPTED, None, None, text, provider_message_id=named) for n in range(2)
    ]


async def test_a_call_that_fails_for_one_address_is_made_for_each() -> None:
    results, site = await answered([REFUSED, OK, REFUSED, OK], envelope(B, C, D))
    assert sorted(outcomes(results)) == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.PERMANENT]
    assert len(site.requests) == 4


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Says(200, {"message": "Mailgun Magnificent API"}), Outcome.MISCONFIGURED),
        (Says(200, {"message": "Queued. Thank you.", "id": "\0"}), Outcome.ACCEPTED),
        (Says(200, "Queued. Thank you."), Outcome.MISCONFIGURED),
        (Says(404, {"message": "Domain not found: mg.example"}), Outcome.MISCONFIGURED),
        (Says(400, {"message": "Domain mg.example is not allowed to send"}), Outcome.MISCONFIGURED),
        (Says(402, {"message": "Payment required"}), Outcome.MISCONFIGURED),
        (Says(405, ""), Outcome.MISCONFIGURED),
        (Says(400, {"message": "'from' parameter is missing"}), Outcome.MESSAGE_PERMANENT),
        (REFUSED, Outcome.PERMANENT),
        (Says(413, "<html>too large</html>"), Outcome.MESSAGE_PERMANENT),
    ],
)
async def test_what_an_answer_means(answer: Says, outcome: Outcome) -> None:
    (result,), site = await answered([answer], envelope(B))
    assert (result.outcome, result.provider_message_id) == (outcome, None)
    assert len(site.requests) == 1


async def test_what_it_can_do() -> None:
    async with built("mailgun", {"domain": "mg.example", "region": "eu"}, SECRET) as provider:
        assert provider.capabilities == Capabilities(
            verified_tls=True, max_octets=25_000_000, smtputf8=False, evidence_seconds=120.0
        )


@pytest.mark.parametrize(
    ("config", "secret", "fault"),
    [
        ({}, SECRET, "domain: Field required"),
        ({"domain": "mg.example/../x"}, SECRET, "domain: String should match"),
        ({"domain": "mg.example", "region": "mars"}, SECRET, "region: Input should be"),
        ({"domain": "mg.example"}, None, "secret: it needs an API key, and none is stored"),
        ({"domain": "mg.example"}, "hush\r\nX: y", "secret: an API key has only ASCII letters"),
    ],
)
async def test_a_wrong_configuration_is_named(config: dict[str, Any], secret: str | None, fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        async with built("mailgun", config, secret):
            pass
    assert str(raised.value).startswith(fault)
    assert "hush" not in str(raised.value)
