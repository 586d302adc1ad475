"""What an account may send, as its sessions meet it: suppressed recipients, From, Postmaster, changes."""

from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from backing.notices import Kind
from mail.accounts import GeneratedSecret, secret_digest
from relay.policy.auth import Doorkeeper
from relay.policy.changes import Changes
from relay.policy.credentials import ASK_AGAIN_SECONDS
from tests.relay.accounts import MESSAGE, Clock, become, commit
from tests.relay.house import ACCOUNT, CREDENTIAL, KEY, USER, Files, Peer, content_of, relay, settings, until

pytestmark = pytest.mark.anyio

REVOKED = "421 4.7.0 Credential no longer valid, sign in again ref="


# --- suppressed recipients


async def test_a_suppressed_recipient_is_refused_and_the_others_are_sent_to(files: Files) -> None:
    async with relay(files) as running:
        running.lists.addresses[ACCOUNT.id] = ["gone@b.example", "postmaster@relay.test"]
        peer = await running.signed_in()
        await until(lambda: running.house.suppressions.suspects(ACCOUNT.id, "gone@b.example"))
        await peer.ask("MAIL FROM:<me@example.com>", "250")
        for address in ("gone@b.example", "GONE@B.example"):
            reply = await peer.ask(f"RCPT TO:<{address}>", "550 5.1.1")
            local = address.partition("@")[0]
            assert reply == f"550 5.1.1 {local}@b.example suppressed since 2026-11-01 (bounce)"
        assert await peer.ask("RCPT TO:<Postmaster>", "550") == (
            "550 5.1.1 postmaster@relay.test suppressed since 2026-11-01 (bounce)"
        )
        await peer.ask("DATA", "503 5.5.1")
        await peer.ask("RCPT TO:<here@b.example>", "250")
        await peer.ask("DATA", "354")
        assert (await commit(peer)).startswith("250 ")
        assert [recipient.address for recipient in running.queue.jobs[0].recipients] == ["here@b.example"]

        running.lists.addresses[ACCOUNT.id].append("late@b.example")
        running.hear("suppression", ACCOUNT.id)
        await until(lambda: running.house.suppressions.suspects(ACCOUNT.id, "late@b.example"))
        await peer.ask("MAIL FROM:<me@example.com>", "250")
        await peer.ask("RCPT TO:<late@b.example>", "550 5.1.1 late@b.example suppressed since")


async def test_a_list_that_cannot_be_read_refuses_nobody(files: Files) -> None:
    async with relay(files) as running:
        running.lists.addresses[ACCOUNT.id] = ["gone@b.example"]
        running.lists.down = True
        peer = await running.signed_in()
        await until(lambda: running.lists.asked == ["hashes"])
        assert (await peer.submit(MESSAGE, ["gone@b.example"])).startswith("250 ")


# --- From


EVIL = "550 5.7.1 Account shop may not send with From of evil.example; allowed: "
TWO = "550 5.7.1 The message has more than one From header"
FORGED = {
    "another domain": (b"From: a@evil.example\r\n\r\nx", EVIL),
    "one of two": (b"From: a@example.com, b@evil.example\r\n\r\nx", EVIL),
    "Sender": (b"From: a@example.com\r\nSender: b@evil.example\r\n\r\nx", EVIL.replace("From", "Sender")),
    "twice": (b"From: a@example.com\r\nFrom: a@evil.example\r\n\r\nx", TWO),
    "not there": (b"Subject: x\r\n\r\nFrom: a@example.com", "550 5.7.1 The message has no From header"),
    "without a body": (b"From: a@evil.example\r\n", EVIL),
    "folded": (b"From:\r\n a@evil.example\r\n\r\nx", EVIL),
    "in a large message": (b"From: a@evil.example\r\n\r\n" + b"x\r\n" * 400_000, EVIL),
    "after a long header": (
        b"X: y\r\n" * 50_000 + b"From: a@evil.example\r\n\r\nx",
        "550 5.7.1 The header is longer than ",
    ),
}
# What a client sends, with octets that the option repairs: it is the repaired message that is checked.
REPAIRED = {
    "bare LF": (b"From: a@example.com\nFrom: a@evil.example\n\nx", TWO),
    "bare CR": (b"From: a@example.com\rFrom: a@evil.example\r\rx", TWO),
    "NUL": (b"From: a@example.com\r\nFr\0om: a@evil.example\r\n\r\nx", TWO),
    "bare LF only": (b"From: a@evil.example\n\nx", EVIL),
}


async def bdat(peer: Peer, content: bytes, sizes: Sequence[int]) -> str:
    """Send a message in chunks; the reply to the last one."""
    await peer.ask("MAIL FROM:<me@example.com>", "250")
    await peer.ask("RCPT TO:<you@b.example>", "250")
    for size in sizes:
        chunk, content = content[:size], content[size:]
        peer.send(b"BDAT %d\r\n%s" % (len(chunk), chunk))
        await peer.expect("250 2.0.0")
    peer.send(b"BDAT %d LAST\r\n%s" % (len(content), content))
    return await peer.reply()


@pytest.mark.requirement("CORE-SMTP-002")
@pytest.mark.parametrize("way", ["DATA", "BDAT", "chunks"])
@pytest.mark.parametrize("name", [*FORGED, *REPAIRED])
async def test_a_from_of_others_is_refused_where_the_option_says_so(files: Files, name: str, way: str) -> None:
    content, answer = (FORGED | REPAIRED)[name]
    async with relay(files) as running:
        become(running, check_from=True, repair_line_ends=name in REPAIRED)
        peer = await running.signed_in()

        async def submitted(message: bytes) -> str:
            return await (peer.submit(message) if way == "DATA" else bdat(peer, message, {"BDAT": ()}.get(way, (9, 7))))

        assert (await submitted(content)).startswith(answer)
        assert (running.queue.sent, running.bodies.open) == ([], set())
        assert (await submitted(MESSAGE)).startswith("250 ")
        become(running, repair_line_ends=name in REPAIRED)
        running.hear("account", ACCOUNT.id)
        assert (await submitted(content)).startswith("250 ")


async def test_a_from_without_the_end_of_its_line_is_read_too(files: Files) -> None:
    async with relay(files) as running:
        become(running, check_from=True)
        peer = await running.signed_in()
        assert (await bdat(peer, b"From: a@evil.example", ())).startswith(EVIL)
        assert (await bdat(peer, b"From: a@mail.example.com", ())).startswith("550 5.7.1 Account shop may not send")
        assert (await bdat(peer, b"From: a@x.mail.example.com", ())).startswith("250 ")
        assert content_of(running.queue.jobs[0]) == b"From: a@x.mail.example.com\r\n"


# --- connections


@pytest.mark.requirement("CORE-SMTP-006")
async def test_strangers_connect_so_often_and_no_more(files: Files) -> None:
    async with relay(files, relay_connections_per_minute=2) as running:
        greetings: list[str] = []
        while not greetings or greetings[-1].startswith("220"):
            greetings.append(await (await running.connect(implicit_tls=len(greetings) % 2 == 1)).reply())
        # A minute may end meanwhile, but not two.
        assert greetings[:-1] in (["220 relay.test ESMTP"] * n for n in (2, 3, 4))
        assert greetings[-1].startswith("421 4.7.0 Too many connections, try again in ")
        assert await running.peers[-1].rest() == b""
        await until(lambda: running.counted("relay_connections_total", result="refused") == 1)
        assert running.counted("relay_shed_total", reason="connection_rate") == 1
        for peer in running.peers:
            await peer.close()


@pytest.mark.requirement("CORE-SMTP-006")
async def test_exempt_networks_connect_as_often_as_they_like(files: Files) -> None:
    exempt: dict[str, Any] = {"relay_connections_per_minute": 1, "relay_exempt_networks": "127.0.0.0/8"}
    async with relay(files, **exempt) as running:
        for _ in range(5):
            peer = await running.connect()
            await peer.expect("220")
            await peer.close()


# --- Postmaster


@pytest.mark.requirement("CORE-SMTP-003")
@pytest.mark.parametrize(
    ("setting", "address"), [("", "postmaster@relay.test"), ("It.Desk@B.example", "It.Desk@b.example")]
)
async def test_mail_to_postmaster_has_an_address(files: Files, setting: str, address: str) -> None:
    async with relay(files, relay_postmaster=setting) as running:
        peer = await running.signed_in()
        assert (await peer.submit(MESSAGE, ["Postmaster", address, "POSTMASTER"])).startswith("250 ")
        assert [recipient.address for recipient in running.queue.jobs[0].recipients] == [address]


@pytest.mark.requirement("CORE-OPS-002")
@pytest.mark.parametrize("setting", ["postmaster", "it desk@b.example", "a@b.example, c@b.example"])
def test_a_postmaster_without_an_address_is_named_at_the_start(files: Files, setting: str) -> None:
    with pytest.raises(ValidationError, match="RELAY_POSTMASTER: not an address"):
        settings(files, relay_postmaster=setting)


# --- changes


CHANGES: dict[str, dict[str, Any] | None] = {
    "revoked": None,
    "another secret": {"secret": GeneratedSecret(secret_digest(KEY, USER, "another"))},
    "another certificate": {"certificate_name": "scanner"},
    "from elsewhere only": {"networks": (ip_network("192.0.2.0/24"),)},
}


@pytest.mark.requirement("CORE-SMTP-001")
@pytest.mark.parametrize("kind", ["credential", "account"])
@pytest.mark.parametrize("change", CHANGES)
async def test_a_credential_that_changed_ends_its_sessions_at_their_next_message(
    files: Files, change: str, kind: Kind
) -> None:
    async with relay(files) as running:
        busy, idle = await running.signed_in(), await running.signed_in()
        await busy.envelope()
        changes = CHANGES[change]
        if changes is None:
            del running.accounts.credentials[USER]
        else:
            running.accounts.credentials[USER] = replace(CREDENTIAL, **changes)
        running.hear(kind, USER if kind == "credential" else ACCOUNT.id)
        # What was begun is finished.
        assert (await commit(busy)).startswith("250 ")
        with capture_logs() as lines:
            for peer in (busy, idle):
                await peer.ask("NOOP", "250")
                await peer.ask("MAIL FROM:<me@example.com>", REVOKED)
                assert await peer.rest() == b""
            await until(lambda: not running.server.sessions)
        ends = [line["why"] for line in lines if line["event"] == "session ended"]
        assert ends == ["credential no longer valid"] * 2
        assert len(running.queue.jobs) == 1


@pytest.mark.requirement("CORE-SMTP-002")
async def test_changed_domains_hold_from_the_next_message_on(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        await peer.envelope()
        become(running, allowed_domains=frozenset({"new.example"}))
        # Nothing says so yet, and the database is not asked for each message.
        assert (await commit(peer)).startswith("250 ")
        assert (await peer.submit(MESSAGE)).startswith("250 ")
        running.hear("account", ACCOUNT.id)
        await peer.ask(
            "MAIL FROM:<me@example.com>", "550 5.7.1 Account shop may not send from example.com; allowed: new.example"
        )
        await peer.ask("MAIL FROM:<me@new.example>", "250")
        assert running.accounts.asked == 2


async def test_while_the_database_is_away_a_session_goes_on_as_it_was(files: Files) -> None:
    async with relay(files) as running:
        clock = Clock(1000.0)
        running.house.doorkeeper = Doorkeeper(running.accounts, KEY, 60, clock)
        peer = await running.signed_in()
        del running.accounts.credentials[USER]
        running.accounts.down = True
        running.hear("credential", USER)
        for _ in range(2):
            assert (await peer.submit(MESSAGE)).startswith("250 ")
        assert running.accounts.asked == 2
        running.accounts.down = False
        clock.now += ASK_AGAIN_SECONDS
        await peer.ask("MAIL FROM:<me@example.com>", REVOKED)


async def test_a_missed_notice_makes_the_relay_look_again(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.signed_in()
        running.lists.addresses[ACCOUNT.id] = ["gone@b.example"]
        await until(lambda: running.lists.asked == ["hashes"])
        del running.accounts.credentials[USER]
        house = running.house
        Changes(house.doorkeeper, house.suppressions, house.transcripts).missed()
        await until(lambda: house.suppressions.suspects(ACCOUNT.id, "gone@b.example"))
        await peer.ask("MAIL FROM:<me@example.com>", REVOKED)
