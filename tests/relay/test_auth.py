"""Signing in: the dialogue of AUTH, and what happens while the database is away."""

import base64
import time
from uuid import UUID

import pytest
from aiosmtpd.smtp import LoginPassword

from mail.accounts import Credential, GeneratedSecret, secret_digest
from mail.errors import Refused, Unavailable
from relay.policy.auth import REFUSAL_SECONDS, Doorkeeper
from relay.policy.credentials import ASK_AGAIN_SECONDS
from tests.relay.house import ACCOUNT, CREDENTIAL, KEY, PLAIN, SECRET, USER, Accounts, Files, relay

pytestmark = pytest.mark.anyio

OLD = "before the rotation"
PEER = "192.0.2.1"


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def plain(user: str, secret: str, acting_for: str = "") -> str:
    return b64(f"{acting_for}\0{user}\0{secret}")


GOOD = "235 2.7.0 Authentication succeeded"
BAD = "535 5.7.8 Authentication credentials invalid"
DIALOGUES = {
    "PLAIN": [(f"AUTH PLAIN {PLAIN}", GOOD)],
    "lower case": [(f"auth plain {PLAIN}", GOOD)],
    "PLAIN for oneself": [(f"AUTH PLAIN {plain(USER, SECRET, USER)}", GOOD)],
    "PLAIN in two steps": [("AUTH PLAIN", "334 "), (PLAIN, GOOD)],
    "LOGIN": [("AUTH LOGIN", "334 VXNlcm5hbWU6"), (b64(USER), "334 UGFzc3dvcmQ6"), (b64(SECRET), GOOD)],
    "LOGIN with the user at once": [(f"AUTH Login {b64(USER)}", "334 UGFzc3dvcmQ6"), (b64(SECRET), GOOD)],
    "a wrong secret": [(f"AUTH PLAIN {plain(USER, 'wrong')}", BAD), (f"AUTH PLAIN {PLAIN}", GOOD)],
    "nobody": [(f"AUTH PLAIN {plain('nobody', SECRET)}", BAD)],
    "acting for another": [(f"AUTH PLAIN {plain(USER, SECRET, 'root')}", BAD)],
    "a user of no encoding": [("AUTH PLAIN " + base64.b64encode(b"\0\xff\0x").decode(), BAD)],
    "a user with a NUL": [("AUTH LOGIN AGE=", "334 UGFzc3dvcmQ6"), ("AGE=", BAD)],
    "cancelled": [("AUTH PLAIN", "334 "), ("*", "501 5.7.0 Authentication cancelled"), (f"AUTH PLAIN {PLAIN}", GOOD)],
    "cancelled half way": [
        ("AUTH LOGIN", "334 VXNlcm5hbWU6"),
        (b64(USER), "334 UGFzc3dvcmQ6"),
        ("*", "501 5.7.0 Authentication cancelled"),
    ],
    "empty": [
        ("AUTH PLAIN =", "501 5.5.2 PLAIN needs: [authzid] NUL user NUL password"),
        ("AUTH LOGIN =", "334 UGFzc3dvcmQ6"),
        ("", BAD),
    ],
    "not base64": [
        ("AUTH PLAIN !!!!", "501 5.5.2 Cannot decode base64"),
        (f"AUTH PLAIN {PLAIN} more", "501 5.5.2 Cannot decode base64"),
        ("AUTH PLAIN", "334 "),
        ("é", "501 5.5.2 Cannot decode base64"),
    ],
    "unknown mechanisms": [
        ("AUTH", "501 5.5.4 Syntax: AUTH mechanism [initial-response]"),
        ("AUTH CRAM-MD5", "504 5.5.4 Mechanism not supported; use PLAIN or LOGIN"),
    ],
    "a line of 12288 octets": [
        ("AUTH PLAIN " + "A" * (12_288 - 13), "501 5.5.2 Cannot decode base64"),
        ("AUTH PLAIN " + "A" * (12_288 - 12), "500 5.5.2 Line too long"),
    ],
    "twice, and inside a transaction": [
        (f"AUTH PLAIN {PLAIN}", GOOD),
        (f"AUTH PLAIN {PLAIN}", "503 5.5.1 Already signed in"),
    ],
    "mail before AUTH": [("MAIL FROM:<me@example.com>", "530 5.7.0 Authentication required")],
}


@pytest.mark.requirement("CORE-SMTP-001")
@pytest.mark.parametrize("name", DIALOGUES)
async def test_dialogue(files: Files, name: str) -> None:
    async with relay(files) as running:
        peer = await running.connect(implicit_tls=True)
        await peer.expect("220")
        assert "AUTH PLAIN LOGIN" in await peer.ask("EHLO a.example", "250")
        heard = []
        for line, _ in DIALOGUES[name]:
            peer.send(line.encode() + b"\r\n")
            heard.append((line, await peer.reply()))
        assert heard == DIALOGUES[name]


async def test_three_wrong_guesses_end_the_session(files: Files) -> None:
    async with relay(files) as running:
        peer = await running.connect(implicit_tls=True)
        await peer.expect("220")
        await peer.ask("EHLO a.example", "250")
        for _ in range(3):
            await peer.ask(f"AUTH PLAIN {plain(USER, 'wrong')}", BAD)
        await peer.expect("421 4.7.0 Too many failed sign-ins, closing ref=")
        assert await peer.rest() == b""
        assert running.counted("relay_auth_attempts_total", result="refused") == 3


@pytest.mark.requirement("CORE-SMTP-001")
async def test_while_the_database_is_away_known_senders_go_on_and_others_wait(files: Files) -> None:
    async with relay(files, relay_credential_cache_seconds=0) as running:
        assert await (await running.signed_in()).submit(b"one")
        running.accounts.down = True
        peer = await running.signed_in()
        assert (await peer.submit(b"two")).startswith("250 ")
        stranger = await running.connect(implicit_tls=True)
        await stranger.expect("220")
        await stranger.ask("EHLO a.example", "250")
        reply = await stranger.ask(f"AUTH PLAIN {plain('other', SECRET)}", "454 4.7.0 ")
        assert "hunter2" not in reply
        await stranger.ask(f"AUTH PLAIN {plain(USER, 'wrong')}", "454 4.7.0 ")
        running.accounts.down = False
        await stranger.ask(f"AUTH PLAIN {PLAIN}", GOOD)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_a_known_credential_is_asked_for_again_when_its_time_is_over() -> None:
    accounts, clock = Accounts(), Clock()
    doorkeeper = Doorkeeper(accounts, KEY, 60, clock)
    login = LoginPassword(USER.encode(), SECRET.encode())
    for after, asked in ((0, 1), (59, 1), (2, 2)):
        clock.now += after
        assert await doorkeeper.admit(login, PEER) == CREDENTIAL
        assert accounts.asked == asked
    del accounts.credentials[USER]
    assert await doorkeeper.admit(login, PEER) == CREDENTIAL
    clock.now += 61
    with pytest.raises(Refused):
        await doorkeeper.admit(login, PEER)


async def test_a_new_secret_is_good_at_once_and_the_old_one_then_is_not() -> None:
    old = Credential(UUID(int=3), USER, GeneratedSecret(secret_digest(KEY, USER, OLD)), ACCOUNT)
    accounts = Accounts({USER: old})
    doorkeeper = Doorkeeper(accounts, KEY, 60)
    assert await doorkeeper.admit(LoginPassword(USER.encode(), OLD.encode()), PEER) == old
    accounts.credentials[USER] = CREDENTIAL
    assert await doorkeeper.admit(LoginPassword(USER.encode(), SECRET.encode()), PEER) == CREDENTIAL
    with pytest.raises(Refused):
        await doorkeeper.admit(LoginPassword(USER.encode(), OLD.encode()), PEER)


async def test_one_sender_finds_out_whether_the_database_is_back() -> None:
    accounts, clock = Accounts(), Clock()
    doorkeeper = Doorkeeper(accounts, KEY, 60, clock)
    login = LoginPassword(USER.encode(), SECRET.encode())
    await doorkeeper.admit(login, PEER)
    accounts.down, clock.now = True, clock.now + 61
    for _ in range(5):
        assert await doorkeeper.admit(login, PEER) == CREDENTIAL
    assert accounts.asked == 2
    clock.now += ASK_AGAIN_SECONDS
    for _ in range(5):
        assert await doorkeeper.admit(login, PEER) == CREDENTIAL
    assert accounts.asked == 3
    with pytest.raises(Unavailable):
        await doorkeeper.admit(LoginPassword(b"other", b"x"), PEER)


@pytest.mark.parametrize("user", [USER, "nobody", ""])
async def test_every_refusal_takes_its_time(user: str) -> None:
    doorkeeper = Doorkeeper(Accounts(), KEY, 60)
    began = time.monotonic()
    with pytest.raises(Refused):
        await doorkeeper.admit(LoginPassword(user.encode(), b"wrong"), PEER)
    assert time.monotonic() - began >= REFUSAL_SECONDS * 0.95
