"""A provider is tested step by step, as far as a mail would go, and with addresses by a mail."""

import base64
import ssl
from typing import Any

import pytest
import trustme

from backing.postgres.inquiries import Inquiries
from backing.postgres.routing import ProviderRow
from backing.provider_configs import SandboxConfig
from mail.delivery import RecipientResult
from tests.conftest import free_port
from tests.worker import peer
from tests.worker.inquiries.office import Office, steps, words
from tests.worker.peer import Peer
from tests.worker.providers.site import ECHO, Says, Site
from worker.inquiries.scrub import Scrubber
from worker.inquiries.trial import Trial
from worker.providers.base import Envelope, Provider
from worker.providers.sandbox import SandboxProvider

pytestmark = pytest.mark.anyio

SECRET = "hush-hush-0123456789"
MAIL = {"from_": "a@shop.example", "to": "b@far.example"}
TLS = ("STARTTLS", "AUTH PLAIN", "8BITMIME")
PLAIN = ("AUTH PLAIN",)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def server(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1", "mail.example").configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> dict[str, Any]:
    return {"ca": authority.cert_pem.bytes().decode(), "username": "user"}


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_every_step_is_told_and_no_mail_is_sent(
    office: Office, server: ssl.SSLContext, authority: trustme.CA, tls: str
) -> None:
    extensions = TLS if tls == "starttls" else PLAIN
    async with Peer({}, extensions, server, implicit=tls == "implicit").serving() as met:
        provider = await office.provider("smtp", met.config | trusting(authority) | {"tls": tls}, SECRET)
        office.books.run("UPDATE provider SET enabled = false WHERE id = %s", provider)
        told = await office.answer(await office.ask())
    assert (told["state"], told["outcome"]["words"]) == ("done", "Mail would go through.")
    names = ["secret", "settings", "resolve", "connect", "greeting", "TLS", "sign-in"]
    if tls == "implicit":
        names[4:6] = ["TLS", "greeting"]
    assert steps(told) == dict.fromkeys(names, True)
    assert list(steps(told)) == names
    said = words(told)
    assert said["resolve"] == "127.0.0.1 is 127.0.0.1"
    assert said["connect"] == f"connected to 127.0.0.1:{met.port}"
    assert said["TLS"].startswith("TLSv1.3; certificate for mail.example, 127.0.0.1; valid until 3000-01-01")
    assert (said["greeting"], said["sign-in"]) == ("peer ready", "2.7.0 in")
    verbs = [command.split(" ")[0] for command in met.commands]
    assert verbs == [*(["EHLO", "STARTTLS"] if tls == "starttls" else []), "EHLO", "AUTH", "RSET", "QUIT"]
    assert met.sessions == 1


@pytest.mark.requirement("CORE-API-005")
async def test_a_key_that_is_refused_is_told_without_it(office: Office) -> None:
    login = base64.b64encode(f"\0user\0{SECRET}".encode()).decode()
    async with Peer({"AUTH": f"535 5.7.8 not {SECRET} nor {login}"}, PLAIN).serving() as met:
        await office.provider("smtp", met.config | {"username": "user"}, SECRET)
        told = await office.answer(await office.ask(**MAIL))
    assert (told["state"], steps(told)["sign-in"]) == ("failed", False)
    assert told["outcome"]["words"].startswith("It does not know us. Check user name and secret")
    assert words(told)["sign-in"] == "535 5.7.8 not *** nor ***"
    assert "send" not in steps(told)
    assert met.messages == []


@pytest.mark.parametrize(
    ("step", "config", "script"),
    [
        ("settings", {"host": "127.0.0.1", "colour": "red"}, {}),
        ("resolve", {"host": "no-such-host.invalid"}, {}),
        ("connect", {"port": 1}, {}),
        ("greeting", {}, {"banner": "554 5.7.1 not you"}),
        ("greeting", {}, {"banner": "421 4.3.2 closing"}),
        ("TLS", {"tls": "starttls"}, {}),
        ("TLS", {"tls": "implicit"}, {}),
        ("sign-in", {"username": "user"}, {"AUTH": "535 5.7.8 no"}),
        ("sign-in", {"username": "user"}, {"AUTH": peer.HANG}),
    ],
)
async def test_the_step_that_failed_is_the_last_one(
    office: Office, step: str, config: dict[str, Any], script: dict[str, Any]
) -> None:
    async with Peer(script, PLAIN).serving() as met:
        await office.provider("smtp", {**met.config, **config}, SECRET)
        told = await office.answer(await office.ask(), deadline=3)
    found = steps(told)
    assert told["state"] == "failed"
    assert list(found)[-1] == step
    assert [name for name, ok in found.items() if not ok] == [step]
    assert told["outcome"]["words"].endswith(".")
    assert told["outcome"]["seconds"] < 10


async def test_an_untrusted_certificate_is_told(office: Office, server: ssl.SSLContext) -> None:
    async with Peer({}, TLS, server).serving() as met:
        await office.provider("smtp", met.config | {"tls": "starttls"})
        told = await office.answer(await office.ask())
    assert steps(told)["TLS"] is False
    assert "certificate verify failed" in words(told)["TLS"]
    assert "set ca" in told["outcome"]["words"]


@pytest.mark.parametrize(
    ("script", "state", "outcome", "code"),
    [
        ({}, "done", "accepted", 250),
        ({"RCPT": "550 5.1.1 unknown"}, "failed", "permanent", 550),
        ({".": peer.DROP}, "unknown", "unknown", None),
    ],
)
async def test_a_mail_goes_through_that_provider_alone(
    office: Office, script: dict[str, Any], state: str, outcome: str, code: int | None
) -> None:
    async with Peer(script).serving() as met:
        await office.provider("smtp", met.config)
        told = await office.answer(await office.ask(**MAIL))
    assert (told["state"], steps(told)["send"]) == (state, outcome == "accepted")
    (fate,) = told["outcome"]["recipients"]
    assert (fate["address"], fate["outcome"], fate["code"]) == ("b@far.example", outcome, code)
    assert [each for each in met.commands if each.startswith(("MAIL", "RCPT"))] == [
        next(each for each in met.commands if each.startswith("MAIL FROM:<a@shop.example>")),
        "RCPT TO:<b@far.example>",
    ]
    if outcome != "permanent":
        (message,) = met.messages
        assert b"Subject: Test of provider main\r\n" in message
        assert b"\r\nTo: <b@far.example>\r\n" in message


OK_MAILGUN = Says(200, {"domain": {"state": "active"}})
APIS: list[tuple[str, dict[str, Any], Says | str, str, str]] = [
    ("mailgun", {"domain": "mg.example"}, OK_MAILGUN, "done", "the domain is active"),
    ("mailgun", {"domain": "mg.example"}, Says(200, {"domain": {"state": "unverified"}}), "failed", "is unverified"),
    ("mailgun", {"domain": "mg.example"}, Says(401, "Forbidden"), "failed", "domain sending key, it may only send"),
    ("mailgun", {"domain": "mg.example"}, Says(404, {"message": "Domain not found"}), "failed", "Domain not found"),
    ("mailgun", {"domain": "mg.example"}, ECHO, "failed", "***"),
    ("sendgrid", {"mode": "api"}, Says(200, {"scopes": ["mail.send"]}), "done", "the key may send"),
    ("sendgrid", {"mode": "api"}, Says(200, {"scopes": ["stats.read"]}), "failed", "lacks the scope mail.send"),
    ("sendgrid", {"mode": "api"}, Says(403, {"errors": [{"message": "access forbidden"}]}), "failed", "HTTP 403"),
    ("postmark", {"mode": "api"}, Says(200, {"Name": "shop", "DeliveryType": "Live"}), "done", "server shop"),
    ("postmark", {"mode": "api"}, Says(200, {"Name": "x", "DeliveryType": "Sandbox"}), "done", "delivers none of it"),
    ("postmark", {"mode": "api"}, Says(401, {"ErrorCode": 10, "Message": "bad token"}), "failed", "bad token"),
    ("postmark", {"mode": "api"}, Says(503, "maintenance"), "failed", "maintenance"),
]


@pytest.mark.parametrize(("kind", "config", "move", "state", "said"), APIS)
async def test_an_api_is_asked_for_what_changes_nothing(
    office: Office, kind: str, config: dict[str, Any], move: Says | str, state: str, said: str
) -> None:
    async with Site([move]).serving() as site:
        await office.provider(kind, config | {"endpoint": site.url}, SECRET)
        told = await office.answer(await office.ask())
    assert told["state"] == state, told
    assert list(steps(told))[:5] == ["secret", "settings", "resolve", "connect", "sign-in"]
    assert said in f"{list(words(told).values())[-1]} {told['outcome']['words']}"
    assert SECRET not in str(told)
    assert base64.b64encode(f"api:{SECRET}".encode()).decode() not in str(told)
    (asked,) = site.requests
    assert asked.line.startswith("GET /")


async def test_an_apis_tls_is_looked_at(office: Office, server: ssl.SSLContext, authority: trustme.CA) -> None:
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    async with Site([OK_MAILGUN], server).serving() as site:
        await office.provider("mailgun", {"domain": "mg.example", "endpoint": site.url}, SECRET)
        good = await office.answer(await office.ask(), context=trusted)
        bad = await office.answer(await office.ask())
    assert words(good)["TLS"].startswith("TLSv1.3; certificate for mail.example, 127.0.0.1")
    assert (good["state"], bad["state"], steps(bad)["TLS"]) == ("done", "failed", False)
    assert "certificate verify failed" in words(bad)["TLS"]


async def test_a_key_that_may_only_send_is_tested_with_a_mail(office: Office) -> None:
    sent = Says(200, {"id": "<1@mg.example>", "message": "Queued. Thank you."})
    async with Site([Says(401, "Forbidden"), sent]).serving() as site:
        await office.provider("mailgun", {"domain": "mg.example", "endpoint": site.url}, SECRET)
        told = await office.answer(await office.ask(**MAIL))
    assert (told["state"], steps(told)["sign-in"], steps(told)["send"]) == ("done", False, True)
    assert [each.line.split(" ")[0] for each in site.requests] == ["GET", "POST"]


@pytest.mark.parametrize(
    ("account", "state", "said"),
    [
        ({"SendingEnabled": True, "ProductionAccessEnabled": True}, "done", "14.0 recipients per second; 150 left"),
        ({"SendingEnabled": True, "ProductionAccessEnabled": False}, "done", "verified addresses only"),
        ({"SendingEnabled": False, "ProductionAccessEnabled": True}, "failed", "SES has paused sending"),
    ],
)
async def test_ses_is_asked_for_its_account(office: Office, account: dict[str, Any], state: str, said: str) -> None:
    quota = {"SendQuota": {"Max24HourSend": 200.0, "MaxSendRate": 14.0, "SentLast24Hours": 50.0}}
    async with Site([Says(200, account | quota, {"Content-Type": "application/json"})]).serving() as site:
        await office.provider("ses", {"endpoint": site.url})
        told = await office.answer(await office.ask())
    assert (told["state"], list(steps(told))) == (state, ["settings", "resolve", "connect", "sign-in", "account"])
    assert said in words(told)["account"]
    assert len(site.requests) == 1


async def test_a_sandbox_is_reached_at_once(office: Office) -> None:
    await office.provider("sandbox", {})
    assert (await office.answer(await office.ask()))["state"] == "done"
    assert (await office.answer(await office.ask(from_="a@shop.example", to="bounce@far.example")))["state"] == "failed"


async def test_a_secret_that_does_not_open_is_told(office: Office) -> None:
    await office.provider("smtp", {"host": "127.0.0.1", "port": free_port()}, SECRET)
    office.books.run("UPDATE provider SET secret = substring(secret FROM 1 FOR 60)")
    told = await office.answer(await office.ask())
    assert (told["state"], steps(told)) == ("failed", {"secret": False})
    assert told["outcome"]["words"].startswith("Its secret cannot be opened.")


class Broken(SandboxProvider):
    """A provider with an error of ours in the midst of sending."""

    async def send(self, envelope: Envelope, body: bytes, deadline: float) -> list[RecipientResult]:
        del envelope, body, deadline
        raise ConnectionError("somewhere")


async def test_an_error_of_ours_while_a_mail_goes_out_leaves_it_unknown(office: Office) -> None:
    await office.provider("sandbox", {})
    await office.ask(**MAIL)
    (inquiry,) = await Inquiries(office.worker).take(1)
    assert isinstance(inquiry.subject, ProviderRow)

    async def built(_row: ProviderRow, _secret: str | None) -> Provider:
        return Broken(SandboxConfig())

    verdict = await Trial(inquiry, inquiry.subject, office.vault, built).verdict()
    assert (verdict.state, verdict.recipients[0].outcome) == ("unknown", "unknown")
    assert verdict.steps[-1].words == "an error of ours: ConnectionError"


@pytest.mark.parametrize("secret", [SECRET, f'{{"password": "{SECRET}", "dkim_key": "pem-pem-pem"}}'])
def test_a_secret_is_hidden_in_each_form_in_which_it_goes_over_a_wire(secret: str) -> None:
    forms = [SECRET, f"\0user\0{SECRET}", f"\0{SECRET}\0{SECRET}", f"api:{SECRET}", f"\0apikey\0{SECRET}"]
    encoded = [base64.b64encode(each.encode()).decode() for each in forms]
    scrubber = Scrubber(secret, {"username": "user"})
    for text in (SECRET, *encoded):
        assert scrubber.text(f"<{text}>") == "<***>"
    assert Scrubber("ab", {}).text("abba") == "abba", "what is so short stands in other words by chance"


@pytest.mark.parametrize(
    ("kind", "config"),
    [("smtp", {}), ("mailgun", {"domain": "mg.example"}), ("postmark", {"mode": "api"}), ("ses", {})],
)
async def test_nothing_is_told_of_a_network_where_providers_may_not_be(
    office: Office, kind: str, config: dict[str, Any]
) -> None:
    async with Peer().serving() as met:
        place = met.config if kind == "smtp" else {"endpoint": f"http://127.0.0.1:{met.port}"}
        await office.provider(kind, {**config, **place}, None if kind == "ses" else SECRET)
        told = await office.answer(await office.ask(), allowed=())
    assert (told["state"], list(steps(told))[-1]) == ("failed", "resolve")
    assert told["outcome"]["words"].startswith("It is in a network where providers may not be.")
    assert met.sessions == 0
