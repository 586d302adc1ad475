"""SES: the wire against moto, and what each of its answers means."""

import base64
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from aiobotocore.session import get_session
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ses.models import ses_backends

from backing.provider_configs import BadConfig
from mail.delivery import Outcome, RecipientResult, Scope
from mail.job import Recipient
from tests.conftest import REGION
from tests.worker.providers.kinds import SES_ID, api, built, ses_error
from tests.worker.providers.letters import B, C, D, attempt, envelope, outcomes
from tests.worker.providers.site import Move, Says, Site
from worker.providers.base import Capabilities, Envelope

pytestmark = pytest.mark.anyio

RAW = b"From: Shop <a@shop.example>\r\nTo: b@far.example\r\nSubject: hello\r\n\r\n.dot\r\n"
OK = Says(200, {"MessageId": SES_ID})
REFUSED = ses_error(400, "BadRequestException", "Missing final '@domain' in address")


async def answered(script: list[Move], what: Envelope, **config: Any) -> tuple[list[RecipientResult], Site]:
    async with Site(script).serving() as site, api("ses", site.url, **config) as provider:
        return await attempt(provider, what, RAW), site


async def test_it_arrives_at_an_account_of_aws(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SESV2", moto_url)
    async with get_session().create_client("ses", region_name=REGION, endpoint_url=moto_url) as ses:
        await ses.verify_domain_identity(Domain="shop.example")
    async with built("ses", {}, None) as provider:
        (result,) = await attempt(provider, envelope(B), RAW)
    message = ses_backends[DEFAULT_ACCOUNT_ID][REGION].sent_messages[-1]
    assert (message.raw_data, message.destinations[0]) == (RAW.decode(), "b@far.example")
    text = f"HTTP 200: {message.id}"
    assert result == RecipientResult(0, Outcome.ACCEPTED, None, None, text, provider_message_id=message.id)


async def test_an_unverified_sender_bounces_nothing(moto_url: str) -> None:
    async with built("ses", {"endpoint": moto_url, "region": "eu-west-3"}, None) as provider:
        (result,) = await attempt(provider, envelope(B), RAW)
    assert result.outcome is Outcome.MISCONFIGURED


async def test_what_ses_is_told() -> None:
    what = envelope(B)
    results, site = await answered(
        [OK], what, configuration_set="main", feedback_address="bounces@shop.example", tenant="shop", region="eu-west-1"
    )
    (request,) = site.requests
    assert request.line == "POST /v2/email/outbound-emails HTTP/1.1"
    assert request.headers["content-type"] == "application/json"
    assert "/eu-west-1/ses/aws4_request, SignedHeaders=content-type;host;x-amz-date" in request.headers["authorization"]
    assert request.document == {
        "Content": {"Raw": {"Data": base64.b64encode(RAW).decode()}},
        "Destination": {"ToAddresses": ["b@far.example"]},
        "ConfigurationSetName": "main",
        "FeedbackForwardingEmailAddress": "bounces@shop.example",
        "TenantName": "shop",
        "EmailTags": [
            {"Name": "smtp_proxy_message", "Value": str(what.message_id)},
            {"Name": "smtp_proxy_key", "Value": str(what.key)},
            {"Name": "smtp_proxy_recipient", "Value": "0"},
        ],
    }
    text = f"HTTP 200: {SES_ID}"
    assert results == [RecipientResult(0, Outcome.ACCEPTED, None, None, text, provider_message_id=SES_ID)]


async def test_each_recipient_has_a_call_of_its_own_unless_several_are_asked_for() -> None:
    for most, calls in ((1, 5), (2, 3), (50, 1)):
        what = envelope(*(Recipient(f"r{n}@far.example") for n in range(5)))
        results, site = await answered([OK], what, max_recipients=most)
        assert outcomes(results) == [Outcome.ACCEPTED] * 5
        sent = [request.document["Destination"]["ToAddresses"] for request in site.requests]
        assert len(sent) == calls
        assert sorted(address for each in sent for address in each) == [f"r{n}@far.example" for n in range(5)]


async def test_a_call_that_fails_for_one_address_is_made_for_each() -> None:
    what = envelope(B, C, D)
    results, site = await answered([REFUSED, OK, REFUSED, OK], what, max_recipients=50)
    assert sorted(outcomes(results)) == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.MESSAGE_PERMANENT]
    assert len(site.requests) == 4
    results, site = await answered([ses_error(400, "MessageRejected", "virus")], what, max_recipients=50)
    assert outcomes(results) == [Outcome.MESSAGE_PERMANENT] * 3
    assert len(site.requests) == 1


async def test_a_clock_that_is_off_is_set_by_ses_which_took_nothing() -> None:
    theirs = datetime.now(UTC) - timedelta(minutes=20)
    refused = ses_error(403, "InvalidSignatureException", Date=format_datetime(theirs, usegmt=True))
    async with Site([refused, OK]).serving() as site, api("ses", site.url) as provider:
        for _ in range(2):
            assert outcomes(await attempt(provider, envelope(B), RAW)) == [Outcome.ACCEPTED]
    stamps = [
        datetime.strptime(request.headers["x-amz-date"] + "+0000", "%Y%m%dT%H%M%SZ%z") for request in site.requests
    ]
    assert [abs(stamp - theirs) < timedelta(minutes=1) for stamp in stamps] == [False, True, True]


async def test_a_clock_that_ses_cannot_agree_on_with_itself_is_set_once_for_an_attempt() -> None:
    dates = [format_datetime(datetime.now(UTC) + timedelta(minutes=n), usegmt=True) for n in (20, 40, 60)]
    refused: list[Move] = [ses_error(403, "InvalidSignatureException", Date=date) for date in dates]
    results, site = await answered(refused, envelope(B))
    assert outcomes(results) == [Outcome.MISCONFIGURED]
    assert len(site.requests) == 2


@pytest.mark.parametrize(
    ("answer", "outcome", "scope"),
    [
        (ses_error(400, "ThrottlingException", "Maximum sending rate exceeded."), Outcome.THROTTLED, Scope.RATE),
        (ses_error(429, "TooManyRequestsException", "Too many requests"), Outcome.THROTTLED, Scope.RATE),
        (ses_error(400, "LimitExceededException", "Daily message quota exceeded"), Outcome.THROTTLED, Scope.DAY),
        (ses_error(429, "TooManyRequestsException", "Daily message quota exceeded."), Outcome.THROTTLED, Scope.DAY),
        (ses_error(400, "MessageRejected", "Email address is not verified. x"), Outcome.MISCONFIGURED, None),
        (ses_error(400, "MessageRejected", "Sending paused for this account."), Outcome.MISCONFIGURED, None),
        (ses_error(400, "MailFromDomainNotVerifiedException"), Outcome.MISCONFIGURED, None),
        (ses_error(404, "NotFoundException", "Configuration set main does not exist"), Outcome.MISCONFIGURED, None),
        (ses_error(400, "SendingPausedException"), Outcome.MISCONFIGURED, None),
        (ses_error(400, "AccountSuspendedException"), Outcome.MISCONFIGURED, None),
        (ses_error(403, "InvalidSignatureException"), Outcome.MISCONFIGURED, None),
        (ses_error(400, "ExpiredTokenException"), Outcome.MISCONFIGURED, None),
        (ses_error(400, "BadRequestException", "Invalid header"), Outcome.MESSAGE_PERMANENT, None),
        (REFUSED, Outcome.MESSAGE_PERMANENT, None),
        (ses_error(413, "RequestEntityTooLargeException"), Outcome.MESSAGE_PERMANENT, None),
        (Says(400, "<html>who knows</html>"), Outcome.MISCONFIGURED, None),
        (Says(400, {"__type": "com.amazonaws.ses#MessageRejected", "Message": "no"}), Outcome.MESSAGE_PERMANENT, None),
        (ses_error(408, "RequestTimeout"), Outcome.UNKNOWN, None),
        (ses_error(503, "ServiceUnavailable"), Outcome.PROVIDER_DOWN, None),
        (Says(200, {"MessageId": 7}), Outcome.UNKNOWN, None),
        (Says(200, {"MessageId": "a\0b"}), Outcome.UNKNOWN, None),
        (Says(200, {"MessageId": "x" * 10_000}), Outcome.UNKNOWN, None),
    ],
)
async def test_what_an_answer_means(answer: Says, outcome: Outcome, scope: Scope | None) -> None:
    (result,), site = await answered([answer], envelope(B))
    assert (result.outcome, result.scope, result.provider_message_id) == (outcome, scope, None)
    assert result.text.startswith(f"HTTP {answer.status}: ")
    assert len(site.requests) == 1


async def test_without_credentials_nothing_is_sent(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", f"{tmp_path}/none")
    (result,), site = await answered([OK], envelope(B))
    assert (result.outcome, result.text) == (Outcome.PROVIDER_DOWN, "AWS credentials: none found")
    assert site.requests == []


async def test_what_it_can_do() -> None:
    async with built("ses", {}, None) as provider:
        assert provider.capabilities == Capabilities(
            verified_tls=True,
            max_recipients=50,
            max_octets=40_000_000,
            smtputf8=False,
            evidence_seconds=120.0,
            rewrites_message_id=True,
        )


@pytest.mark.parametrize(
    ("config", "fault"),
    [
        ({"colour": "red"}, "colour: there is no such key"),
        ({"region": "mars"}, "region: String should match"),
        ({"max_recipients": 51}, "max_recipients: Input should be less"),
        ({"endpoint": "http://far.example"}, "endpoint: must begin with https://"),
        ({"endpoint": "https://far.example:99999"}, "endpoint: must be a URL"),
        ({"endpoint": "https://far_.example"}, "endpoint: must be a URL with the name of a host"),
        ({"endpoint": "far.example"}, "endpoint: must be a URL with the name of a host"),
        ({"endpoint": "https://far.example/?key=hush"}, "endpoint: must be a URL without user"),
        ({"endpoint": "https://user:hush@far.example"}, "endpoint: must be a URL without user"),
    ],
)
async def test_a_wrong_configuration_is_named(config: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadConfig) as raised:
        async with built("ses", config, None):
            pass
    assert str(raised.value).startswith(fault)
    assert "hush" not in str(raised.value)
