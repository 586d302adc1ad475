"""The connections of the SMTP provider: pipelined, kept, replaced, and broken off at every step."""

import asyncio
import ssl
from functools import partial

import pytest

from mail.delivery import Outcome, RecipientResult
from mail.job import Recipient
from tests.worker.house import BODY
from tests.worker.peer import DROP, EXTENSIONS, HANG, Peer
from tests.worker.sending import HERE, B, C, D, all_of, attempt, envelope, provider
from worker.providers.base import Capabilities
from worker.providers.smtp import SmtpProvider
from worker.providers.smtp.connections import Connections
from worker.providers.smtp.opening import Target, connect

pytestmark = pytest.mark.anyio

PLAIN = tuple(extension for extension in EXTENSIONS if extension != "PIPELINING")
TAKEN = (250, "2.0.0", "2.0.0 taken")


async def test_connections_are_kept_and_only_while_they_live() -> None:
    listening = Peer()
    async with listening.serving() as peer:
        sender, deadline = await provider(peer, max_messages=3), asyncio.get_running_loop().time() + 30
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
        sender, deadline = await provider(peer), asyncio.get_running_loop().time() + 30
        outcomes = [(await sender.send(envelope(), BODY, deadline))[0].outcome for _ in range(2)]
        await sender.close()
        assert outcomes == [Outcome.ACCEPTED] * 2
        assert (peer.sessions, len(peer.messages)) == (2, 2)


async def test_a_connection_that_has_been_idle_is_asked_whether_it_lives() -> None:
    async with Peer({"NOOP": ["250 ok", "421 4.4.2 bye", "250 ok"]}).serving() as peer:
        target = Target(
            host="127.0.0.1",
            port=peer.port,
            hello="here.example",
            implicit=False,
            starttls=False,
            context=ssl.create_default_context(),
            pin=None,
            login=None,
            timeout=30.0,
            allowed=HERE,
        )
        kept = Connections(partial(connect, target), 1, 60.0, 100, check_after=0.0)
        sender, deadline = SmtpProvider(kept, Capabilities(verified_tls=False)), asyncio.get_running_loop().time() + 30
        sessions = []
        for _ in range(4):
            assert await sender.send(envelope(), BODY, deadline) == all_of(Outcome.ACCEPTED, *TAKEN)
            sessions.append(peer.sessions)
        await sender.close()
        assert sessions == [1, 1, 2, 2]


async def test_no_more_connections_than_allowed() -> None:
    async with Peer(delay=0.01).serving() as peer:
        sender, deadline = await provider(peer, max_connections=2), asyncio.get_running_loop().time() + 30
        results = await asyncio.gather(*(sender.send(envelope(), BODY, deadline) for _ in range(8)))
        await sender.close()
        assert {result.outcome for (result,) in results} == {Outcome.ACCEPTED}
        assert peer.sessions == 2


@pytest.mark.parametrize("bytewise", [False, True])
async def test_a_peer_that_pipelines_is_told_all_up_to_data_at_once(bytewise: bool) -> None:  # noqa: FBT001
    script = {"RCPT c@far.example": "550-5.1.1 no\r\n550 5.1.1 such user"}
    async with Peer(script, gathered=True, bytewise=bytewise).serving() as peer:
        assert await attempt(peer, envelope(B, C, D)) == [
            RecipientResult(0, Outcome.ACCEPTED, *TAKEN),
            RecipientResult(1, Outcome.PERMANENT, 550, "5.1.1", "5.1.1 no 5.1.1 such user"),
            RecipientResult(2, Outcome.ACCEPTED, *TAKEN),
        ]


@pytest.mark.parametrize("script", [{"RCPT": "550 5.1.1 no such user"}, {"MAIL": "550 5.1.1 no such user"}])
@pytest.mark.parametrize("data", ["354 go on", "503 5.5.1 no valid recipients"])
async def test_data_is_taken_back_when_no_recipient_was_taken(script: dict[str, str], data: str) -> None:
    refused = {step: [reply, "250 ok"] for step, reply in script.items()}
    async with Peer(refused | {"DATA": [data, "354 go on"], ".": ["554 nobody", "250 2.0.0 taken"]}).serving() as peer:
        if data.startswith("503"):
            peer.script = {**refused, "DATA": [data, "354 go on"]}
        sender, deadline = await provider(peer), asyncio.get_running_loop().time() + 30
        first = await sender.send(envelope(), BODY, deadline)
        second = await sender.send(envelope(), BODY, deadline)
        await sender.close()
        assert first == all_of(Outcome.PERMANENT, 550, "5.1.1", "5.1.1 no such user")
        assert second == all_of(Outcome.ACCEPTED, *TAKEN)
        stuffed = BODY.replace(b"\r\n.", b"\r\n..")
        assert (peer.sessions, peer.messages) == (1, [b"", stuffed] if data.startswith("354") else [stuffed])


@pytest.mark.parametrize("extensions", [EXTENSIONS, PLAIN], ids=["pipelined", "one by one"])
async def test_more_recipients_than_the_peer_takes_go_in_several_transactions(extensions: tuple[str, ...]) -> None:
    ok, crowd = "250 ok", "452 4.5.3 too many"
    # With PIPELINING all five are offered, then the three that are left, two by two.
    asked = [ok, ok, crowd, crowd, crowd, ok, crowd, ok, crowd]
    if extensions is PLAIN:
        asked = [ok, ok, crowd, ok, crowd, ok, crowd]
    recipients = [Recipient(f"r{n}@far.example") for n in range(5)]
    async with Peer({"RCPT": asked}, extensions=extensions).serving() as peer:
        assert await attempt(peer, envelope(*recipients)) == [
            *all_of(Outcome.ACCEPTED, *TAKEN, 4),
            RecipientResult(4, Outcome.TEMPORARY, 452, "4.5.3", "4.5.3 too many"),
        ]
        assert (len(peer.messages), peer.sessions) == (3, 1)


async def test_announced_limits_are_kept() -> None:
    async with Peer(extensions=(*EXTENSIONS, "LIMITS MAILMAX=2 RCPTMAX=2 RCPTDOMAINMAX=0")).serving() as peer:
        sender, deadline = await provider(peer), asyncio.get_running_loop().time() + 30
        assert await sender.send(envelope(B, C, D), BODY, deadline) == all_of(Outcome.ACCEPTED, *TAKEN, 3)
        verbs = [command[:4] for command in peer.commands]
        assert verbs[1:8] == ["MAIL", "RCPT", "RCPT", "DATA", "MAIL", "RCPT", "DATA"]
        await sender.send(envelope(), BODY, deadline)
        await sender.close()
        assert peer.sessions == 2


@pytest.mark.parametrize("extensions", [EXTENSIONS, PLAIN], ids=["pipelined", "one by one"])
@pytest.mark.parametrize(
    ("script", "text"),
    [
        ({"RCPT c@far.example": DROP}, "RCPT TO: it closed the connection"),
        ({"RCPT c@far.example": HANG}, "RCPT TO: no answer in time"),
        ({"RCPT c@far.example": b"oops\r\n"}, "RCPT TO: its reply is not one of SMTP"),
        ({"DATA": DROP, "RCPT c@far.example": "250 ok"}, "DATA: it closed the connection"),
        ({"DATA": b"250-" + b"x" * 5000, "RCPT c@far.example": "250 ok"}, "DATA: a line of its reply has more than *"),
        ({"DATA": b"250-x\r\n" * 129, "RCPT c@far.example": "250 ok"}, "DATA: its reply has a line of more than *"),
    ],
)
async def test_what_was_said_before_a_break_counts(
    script: dict[str, object], text: str, extensions: tuple[str, ...]
) -> None:
    script = {"RCPT b@far.example": "550 5.1.1 no such user", **script}
    async with Peer(script, extensions=extensions).serving() as peer:
        first, *rest = await attempt(peer, envelope(B, C, D), seconds=3)
    assert first == RecipientResult(0, Outcome.PERMANENT, 550, "5.1.1", "5.1.1 no such user")
    words = rest[0].text if text.endswith("*") and rest[0].text.startswith(text[:-1]) else text
    assert rest == [RecipientResult(n, Outcome.PROVIDER_DOWN, None, None, words) for n in (1, 2)]


@pytest.mark.parametrize(
    ("early", "answer"),
    [
        ("552 5.3.4 too big", (Outcome.MESSAGE_PERMANENT, 552, "5.3.4", "5.3.4 too big")),
        ("451 4.3.0 disk full", (Outcome.TEMPORARY, 451, "4.3.0", "4.3.0 disk full")),
        ("421 4.3.0 going down", (Outcome.PROVIDER_DOWN, 421, "4.3.0", "4.3.0 going down")),
        (
            "250 ok",
            (Outcome.PROVIDER_DOWN, None, None, "sending the message: it said 250 ok before the message had ended"),
        ),
    ],
)
async def test_a_reply_inside_the_message_is_heard(early: str, answer: tuple[Outcome, int, str, str]) -> None:
    async with Peer({"body": early}, extensions=("PIPELINING",)).serving() as peer:
        body = b"x" * 70 + b"\r\n" * 10_000_000
        assert await attempt(peer, envelope(B, C), body, seconds=20) == all_of(*answer, 2)
        assert peer.messages == []


@pytest.mark.parametrize("more", [b"250 2.0.0 once more\r\n", b"421 4.4.2 bye\r\n"])
async def test_a_reply_that_nobody_asked_for_is_no_answer_to_the_next_message(more: bytes) -> None:
    script = {".": [b"250 2.0.0 taken\r\n" + more, "451 4.3.0 not this"]}
    async with Peer(script).serving() as peer:
        sender, deadline = await provider(peer), asyncio.get_running_loop().time() + 30
        assert await sender.send(envelope(), BODY, deadline) == all_of(Outcome.ACCEPTED, *TAKEN)
        assert await sender.send(envelope(), BODY, deadline) == all_of(
            Outcome.TEMPORARY, 451, "4.3.0", "4.3.0 not this"
        )
        await sender.close()
        assert peer.sessions == 2


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        ({"MAIL": "451 4.3.0 later"}, ["MAIL"]),
        ({"RCPT": "451 4.3.0 later"}, ["MAIL", "RCPT", "RCPT", "RSET"]),
        ({"DATA": "451 4.3.0 later"}, ["MAIL", "RCPT", "RCPT", "DATA", "RSET"]),
        ({"DATA": "421 4.3.0 later"}, ["MAIL", "RCPT", "RCPT", "DATA"]),
    ],
)
async def test_a_peer_without_pipelining_is_asked_no_further_than_it_agrees(
    script: dict[str, str], commands: list[str]
) -> None:
    async with Peer(script, extensions=PLAIN).serving() as peer:
        (reply,) = script.values()
        outcome = Outcome.PROVIDER_DOWN if reply.startswith("421") else Outcome.TEMPORARY
        assert await attempt(peer, envelope(B, C)) == all_of(outcome, int(reply[:3]), "4.3.0", "4.3.0 later", 2)
        assert [command[:4] for command in peer.commands if command != "QUIT"] == ["EHLO", *commands]
