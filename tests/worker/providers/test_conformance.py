"""What holds for every provider, whatever its peer does; each plays the same plays."""

import asyncio
import ssl

import pytest
import trustme

from mail.delivery import Outcome, RecipientResult
from mail.job import Recipient
from tests.conftest import free_port
from tests.worker.providers import site
from tests.worker.providers.kinds import APIS, KINDS, SECRET, Kind, api, shown
from tests.worker.providers.letters import B, C, D, envelope
from tests.worker.providers.letters import attempt as send
from worker.providers.base import MAX_TEXT, Envelope, Provider

pytestmark = pytest.mark.anyio

RAW = (
    b"Received: from app by relay; Thu, 26 Nov 2026 10:00:00 +0000\r\n"
    b"From: Shop <a@shop.example>\r\nTo: Bo <b@far.example>\r\nCc: c@far.example\r\nSubject:  Hello \r\n"
    b"Message-ID: <1@shop.example>\r\nDKIM-Signature: v=1; b=abc\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"
    b"\r\n.\r\n..dots\r\nGr\xc3\xbc\xc3\x9fe \r\n\r\n--\r\n" + b"long " * 300 + b"\r\n"
)
# Generous where an answer is expected, short where none will come.
LONG, SHORT = 60.0, 8.0

every = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
every_api = pytest.mark.parametrize("kind", APIS, ids=lambda kind: kind.name)
every_play = pytest.mark.parametrize(
    ("kind", "play"),
    [pytest.param(kind, play, id=f"{kind.name} {play}") for kind in KINDS for play in kind.plays if play != "hangs"],
)


@pytest.fixture(autouse=True)
def session_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials of a role, whose token is a secret that SES repeats when it refuses a signature."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", SECRET)


async def attempt(
    provider: Provider, what: Envelope, body: bytes = RAW, *, seconds: float = LONG
) -> list[RecipientResult]:
    return await send(provider, what, body, seconds=seconds)


@every_play
async def test_what_a_peer_does_means_what_it_means_and_is_asked_for_once(kind: Kind, play: str) -> None:
    move, outcome = kind.plays[play]
    async with kind.playing(move) as stage:
        (result,) = await attempt(stage.provider, envelope())
        assert (result.n, result.outcome) == (0, outcome)
        assert len(stage.arrived()) <= 1, "nothing is ever sent again by itself"
        if kind.over_http:
            assert len(stage.arrived()) == 1
        assert result.text
        assert len(result.text) <= MAX_TEXT
        assert result.text.isprintable()
        assert SECRET[:9] not in repr(result)
        assert result.retry_after == (7.0 if play == "throttles for a while" else None)


async def test_a_peer_that_hangs_leaves_it_unknown_at_the_deadline() -> None:
    async def played(kind: Kind) -> tuple[str, Outcome, int]:
        async with kind.playing(kind.plays["hangs"][0]) as stage:
            (result,) = await attempt(stage.provider, envelope(), seconds=SHORT)
            return kind.name, result.outcome, len(stage.arrived())

    # Together, since each takes as long as its deadline.
    results = await asyncio.gather(*(played(kind) for kind in KINDS))
    assert results == [(kind.name, Outcome.UNKNOWN, 1) for kind in KINDS]


@every
async def test_a_raw_message_arrives_octet_for_octet_and_other_apis_say_that_they_change_it(kind: Kind) -> None:
    move, _ = kind.plays["accepts"]
    async with kind.playing(move) as stage:
        await attempt(stage.provider, envelope(B, C))
        if kind.raw:
            assert stage.arrived()[0] == RAW
        else:
            assert b"DKIM" not in stage.arrived()[0]


STEERING = {
    "mailgun": [
        b'X-Mailgun-Recipient-Variables: {"b@far.example": {}}\r\n',
        b"x-mailgun-tag : other\r\n folded\r\n",
        b'X-Mailgun-Variables: {"smtp_proxy_message": "another"}\r\n',
    ],
    "sendgrid": [b'X-SMTPAPI: {"to":\r\n\t["stranger@far.example"]}\r\n', b"x-smtpapi: {}\r\n"],
    "postmark": [b"X-PM-Message-Stream: other\r\n", b"x-pm-metadata-smtp_proxy_message: another\r\n"],
}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.raw], ids=lambda kind: kind.name)
async def test_a_message_steers_no_provider_with_fields_that_are_its_own(kind: Kind) -> None:
    before, _, after = RAW.partition(b"From:")
    own = STEERING.get(kind.name.partition("-")[0], [])
    fields = [field for family in STEERING.values() for field in family]
    move, _ = kind.plays["accepts"]
    async with kind.playing(move) as stage:
        await attempt(stage.provider, envelope(B), before + b"".join(fields) + b"From:" + after)
        left = b"".join([field for field in fields if field not in own])
        assert stage.arrived() == [before + left + b"From:" + after]


@every
async def test_recipients_that_no_header_names_are_shown_to_nobody(kind: Kind) -> None:
    move, _ = kind.plays["accepts"]
    async with kind.playing(move) as stage:
        results = await attempt(stage.provider, envelope(B, C, D))
        assert [(each.n, each.outcome) for each in results] == [(n, Outcome.ACCEPTED) for n in range(3)]
        for message in stage.arrived():
            assert "d@far.example" not in (message.decode() if kind.raw else shown(message))


@every
async def test_nobody_listens(kind: Kind) -> None:
    async with kind.absent(free_port()) as provider:
        results = await attempt(provider, envelope(B, C))
    assert [each.outcome for each in results] == [Outcome.PROVIDER_DOWN] * 2


@every_api
async def test_a_name_that_does_not_exist(kind: Kind) -> None:
    async with api(kind.name, "https://nobody.invalid") as provider:
        (result,) = await attempt(provider, envelope())
    assert result.outcome is Outcome.PROVIDER_DOWN


@pytest.fixture(scope="module")
def stranger() -> ssl.SSLContext:
    """A server's certificate by an authority that nobody trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    return context


@every
async def test_a_peer_that_cannot_prove_who_it_is_gets_nothing(kind: Kind, stranger: ssl.SSLContext) -> None:
    move, _ = kind.plays["accepts"]
    async with kind.playing(move, stranger) as stage:
        (result,) = await attempt(stage.provider, envelope())
        assert stage.arrived() == []
    # An SMTP peer is one that its account names, an API is the one that everybody uses.
    assert result.outcome is (Outcome.PROVIDER_DOWN if kind.over_http else Outcome.MISCONFIGURED)
    assert "certificate verify failed" in result.text


@every_api
async def test_a_connection_that_breaks_at_once_may_have_taken_a_small_message(kind: Kind) -> None:
    async with kind.playing(site.DROP_UNREAD) as stage:
        (result,) = await attempt(stage.provider, envelope())
        assert result.outcome is Outcome.UNKNOWN
        assert stage.arrived() == []


@every_api
async def test_a_connection_that_breaks_inside_a_large_message_has_not_taken_it(kind: Kind) -> None:
    large = RAW + (b"x" * 70 + b"\r\n") * 130_000
    async with kind.playing(site.DROP_UNREAD) as stage:
        (result,) = await attempt(stage.provider, envelope(), large)
        assert result.outcome is Outcome.PROVIDER_DOWN
        assert stage.arrived() == []


@every
async def test_a_deadline_that_has_passed_sends_nothing(kind: Kind) -> None:
    move, _ = kind.plays["accepts"]
    async with kind.playing(move) as stage:
        (result,) = await attempt(stage.provider, envelope(), seconds=-1)
        assert result.outcome is Outcome.PROVIDER_DOWN
        assert stage.arrived() == []


@every
async def test_many_at_a_time_are_each_sent_once(kind: Kind) -> None:
    move, _ = kind.plays["accepts"]
    async with kind.playing(move) as stage:
        results = await asyncio.gather(*(attempt(stage.provider, envelope()) for _ in range(30)))
        assert [each.outcome for (each,) in results] == [Outcome.ACCEPTED] * 30
        assert len(stage.arrived()) == 30


@every_api
async def test_what_the_provider_cannot_take_is_not_sent(kind: Kind) -> None:
    move, _ = kind.plays["accepts"]
    async with kind.playing(move) as stage:
        (demanding,) = await attempt(stage.provider, envelope(require_tls=True))
        assert (demanding.outcome, demanding.enhanced) == (Outcome.MESSAGE_PERMANENT, "5.7.30")
        most = stage.provider.capabilities.max_octets
        assert most is not None
        (large,) = await attempt(stage.provider, envelope(), b"x" * (most + 1))
        assert (large.outcome, large.enhanced) == (Outcome.MESSAGE_PERMANENT, "5.3.4")
        (foreign,) = await attempt(stage.provider, envelope(smtputf8=True))
        assert (foreign.outcome, foreign.enhanced) == (Outcome.MESSAGE_PERMANENT, "5.6.7")
        assert stage.arrived() == []
        strange = [Recipient('"x, d@far.example"@far.example'), Recipient("büro@far.example"), B]
        results = await attempt(stage.provider, envelope(*strange))
        outcomes = [
            (Outcome.MESSAGE_PERMANENT, "5.1.3"),
            (Outcome.MESSAGE_PERMANENT, "5.6.7"),
            (Outcome.ACCEPTED, None),
        ]
        assert [(each.outcome, each.enhanced) for each in results] == outcomes


@every_api
async def test_once_a_provider_is_in_trouble_the_rest_is_not_asked(kind: Kind) -> None:
    move, outcome = kind.plays["refuses the key"]
    async with kind.playing(move) as stage:
        many = [Recipient(f"r{n}@far.example") for n in range(50)]
        results = await attempt(stage.provider, envelope(*many))
        assert [(each.n, each.outcome) for each in results] == [(n, outcome) for n in range(50)]
        assert len(stage.arrived()) <= 10
