"""Credentials that end and passwords that are exchanged, through the door and against a real PostgreSQL."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from backing.admin.credentials import Credentials, IssuedCredential, NewCredential
from backing.admin.desk import AdminError, Conflict, Desk, NotFound
from backing.aws import Aws
from backing.ids import now
from backing.passwords import password_hash
from backing.postgres.accounts import Accounts
from backing.postgres.pool import Database
from backing.settings import Settings
from mail.accounts import ChosenSecret, Credential, Former
from mail.errors import Refused, Unavailable
from relay.policy.auth import Doorkeeper
from relay.policy.passwords import Passwords
from relay.policy.uses import MOST, Uses
from tests.conftest import REGION
from tests.relay.house import ACCOUNT, CREDENTIAL, KEY, Files, Peer, Running, relay
from tests.waiting import until

pytestmark = pytest.mark.anyio
GOOD, BAD = "235 2.7.0 Authentication succeeded", "535 5.7.8 Authentication credentials invalid"
DAY = timedelta(days=1)
PASSWORD, NEXT = "a password of mine", "another one of mine"


@dataclass
class Shop:
    """A relay that asks a database for credentials, and an operator who changes them there."""

    running: Running
    credentials: Credentials
    desk: Desk
    doorkeeper: Doorkeeper
    accounts: Accounts
    passwords: Passwords

    async def create(self, **options: Any) -> IssuedCredential:
        return await self.credentials.create("shop", NewCredential(**options))

    async def rotate(self, username: str, overlap: timedelta, **options: Any) -> IssuedCredential:
        made = await self.credentials.rotate(username, overlap=overlap, **options)
        self.tell()
        return made

    def tell(self) -> None:
        """Let the relay hear what has changed, as it does through the cache."""
        for notice in self.desk.notices:
            self.running.hear(notice.kind, notice.subject)
        self.desk.notices.clear()

    def later(self, passed: timedelta) -> None:
        """Let time pass for the relay, which asks nobody for it."""
        at = now() + passed
        self.doorkeeper.today = lambda: at

    async def answer(self, username: str, secret: str | None, mechanism: str = "PLAIN") -> str:
        return (await self.sign_in(username, secret, mechanism))[1]

    async def sign_in(self, username: str, secret: str | None, mechanism: str = "PLAIN") -> tuple[Peer, str]:
        peer = await self.running.connect(implicit_tls=True)
        await peer.expect("220")
        await peer.ask("EHLO client.example", "250")
        if mechanism == "PLAIN":
            response = b64(f"\0{username}\0{secret}")
            peer.send(f"AUTH PLAIN {response}\r\n".encode())
        else:
            await peer.ask("AUTH LOGIN", "334 VXNlcm5hbWU6")
            await peer.ask(b64(username), "334 UGFzc3dvcmQ6")
            peer.send(f"{b64(str(secret))}\r\n".encode())
        return peer, await peer.reply()


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.fixture
async def shop(files: Files, database_url: str) -> AsyncIterator[Shop]:
    async with opened(database_url) as database, relay(files) as running:
        async with database.transaction() as connection:
            await connection.execute(
                "INSERT INTO account (id, name, allowed_domains) VALUES (%s, 'shop', '{example.com}')", (ACCOUNT.id,)
            )
        accounts, passwords, desk = Accounts(database), Passwords(), Desk(database)
        doorkeeper = Doorkeeper(accounts, KEY, 60, passwords=passwords)
        running.house.doorkeeper = doorkeeper
        yield Shop(running, Credentials(desk, KEY), desk, doorkeeper, accounts, passwords)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Database]:
    async with Database(Settings(database_url=url), Aws(REGION)).opened() as database:
        yield database


@pytest.mark.requirement("CORE-API-001")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_both_passwords_sign_in_during_the_overlap_and_only_the_new_one_after_it(
    shop: Shop, mechanism: str
) -> None:
    old = await shop.create(username="app")
    assert await shop.answer("app", old.secret, mechanism) == GOOD
    new = await shop.rotate("app", DAY)
    assert (new.account, new.username) == ("shop", "app")
    assert new.secret != old.secret
    for secret in (new.secret, old.secret, new.secret):
        assert await shop.answer("app", secret, mechanism) == GOOD
    assert await shop.answer("app", "neither", mechanism) == BAD

    # What is remembered of it ends as well; nobody tells the relay so.
    shop.later(DAY + timedelta(seconds=1))
    assert await shop.answer("app", old.secret, mechanism) == BAD
    assert await shop.answer("app", new.secret, mechanism) == GOOD


async def test_sessions_go_on_through_an_overlap_and_end_without_one(shop: Shop) -> None:
    old = await shop.create(username="app")
    peer, _ = await shop.sign_in("app", old.secret)
    new = await shop.rotate("app", DAY)
    shop.later(2 * DAY)
    assert (await peer.submit(b"Subject: x\r\n\r\nx")).startswith("250 2.0.0 ")
    last = await shop.rotate("app", timedelta(0))
    await peer.ask("MAIL FROM:<me@example.com>", "421 4.7.0 ")
    for secret in (old.secret, new.secret):
        assert await shop.answer("app", secret) == BAD
    assert await shop.answer("app", last.secret) == GOOD


async def test_passwords_of_before_keep_their_own_ends_and_are_few(shop: Shop, database_url: str) -> None:
    secrets = [(await shop.create(username="app")).secret]
    secrets += [(await shop.rotate("app", overlap)).secret for overlap in (DAY, 3 * DAY)]
    with pytest.raises(Conflict, match="2 passwords of before are good still"):
        await shop.credentials.rotate("app", overlap=DAY)
    for days, good in ((0, secrets), (1, secrets[1:]), (3, secrets[2:])):
        shop.later(days * DAY + timedelta(minutes=1))
        for secret in secrets:
            assert await shop.answer("app", secret) == (GOOD if secret in good else BAD), days
    # A shorter overlap ends those of before sooner, and none ends them.
    await shop.rotate("app", timedelta(0))
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM credential_former").fetchone() == (0,)


async def test_a_chosen_password_is_exchanged_and_each_costs_its_hash_once(shop: Shop) -> None:
    await shop.create(username="desk", password=PASSWORD)
    assert (await shop.rotate("desk", DAY, password=NEXT)).secret is None
    for _ in range(3):
        for secret in (PASSWORD, NEXT):
            assert await shop.answer("desk", secret) == GOOD
    # The old one is tried against the new hash first.
    assert shop.passwords.runs == 3
    generated = await shop.rotate("desk", DAY)
    for each in (PASSWORD, NEXT, generated.secret):
        assert await shop.answer("desk", each) == GOOD
    assert shop.passwords.runs == 3
    shop.later(2 * DAY)
    assert [await shop.answer("desk", secret) for secret in (PASSWORD, NEXT)] == [BAD] * 2
    assert await shop.answer("desk", generated.secret) == GOOD


@pytest.mark.requirement("CORE-API-001")
@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
async def test_a_credential_that_is_over_signs_in_no_more_and_its_session_goes_on(shop: Shop, mechanism: str) -> None:
    ends = datetime(2099, 1, 31, tzinfo=UTC)
    made = await shop.create(username="app", expires_at=ends)
    peer, answer = await shop.sign_in("app", made.secret, mechanism)
    assert answer == GOOD
    shop.later(ends - now())
    # From memory, and as PostgreSQL has it.
    for _ in range(2):
        assert await shop.answer("app", made.secret, mechanism) == (
            "535 5.7.8 This credential expired at 2099-01-31T00:00:00Z"
        )
        assert await shop.answer("app", "wrong", mechanism) == BAD
        shop.doorkeeper.forget_all()
        assert (await peer.submit(b"Subject: x\r\n\r\nx")).startswith("250 2.0.0 ")
        shop.doorkeeper.forget_all()


async def test_what_is_over_is_neither_made_nor_rotated(shop: Shop, database_url: str) -> None:
    with pytest.raises(AdminError, match="is over; a credential ends in the future"):
        await shop.create(username="late", expires_at=now())
    await shop.create(username="app", expires_at=now() + DAY)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE credential SET ends_at = now()")
    for username in ("app", "nobody"):
        with pytest.raises(NotFound, match=f"there is no valid credential '{username}'"):
            await shop.credentials.rotate(username)
    await shop.create(username="device", certificate_name="d.example", certificate_only=True)
    with pytest.raises(Conflict, match="'device' has no password"):
        await shop.credentials.rotate("device")


async def test_a_certificate_signs_in_no_more_either(shop: Shop) -> None:
    ends = datetime(2099, 1, 31, tzinfo=UTC)
    await shop.create(username="device", certificate_name="d.example", certificate_only=True, expires_at=ends)
    certified = shop.doorkeeper.admit_certified
    assert (await certified(("d.example",), "", "192.0.2.1")).username == "device"
    shop.later(ends - now())
    with pytest.raises(Refused) as refused:
        await certified(("d.example",), "", "192.0.2.1")
    assert str(refused.value) == "535 5.7.8 This credential expired at 2099-01-31T00:00:00Z"


def used(url: str) -> list[tuple[str, datetime]]:
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT username, last_used_at FROM credential JOIN credential_use ON credential_id = credential.id"
            " ORDER BY username"
        ).fetchall()


@pytest.mark.requirement("CORE-API-001")
async def test_when_a_credential_was_used_is_written_for_all_at_once_and_not_while_they_sign_in(
    shop: Shop, database_url: str
) -> None:
    made = {name: await shop.create(username=name) for name in ("app", "till", "idle")}
    uses = Uses(shop.accounts, every=3600)
    shop.doorkeeper.used = uses.note
    async with uses.running():
        for name in ("app", "till", "app"):
            assert await shop.answer(name, made[name].secret) == GOOD
        assert await shop.answer("idle", "wrong") == BAD
        assert used(database_url) == []
    # It ends with what it knows written down.
    first = used(database_url)
    assert [name for name, _ in first] == ["app", "till"]
    assert all(abs(at - now()) < timedelta(minutes=1) for _, at in first)
    rows = {row["username"]: row["last_used_at"] for row in await shop.credentials.of("shop")}
    assert rows == {"app": f"{first[0][1].astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}", "till": rows["till"], "idle": None}

    # To the minute: what comes sooner changes nothing.
    await shop.answer("app", made["app"].secret)
    await uses.write()
    assert used(database_url) == first
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE credential_use SET last_used_at = last_used_at - interval '2 minutes'")
    await shop.answer("app", made["app"].secret)
    await uses.write()
    assert used(database_url)[0][1] > first[0][1]


async def test_a_session_that_sends_is_in_use(shop: Shop) -> None:
    made, noted = await shop.create(username="app"), list[Credential]()
    peer, _ = await shop.sign_in("app", made.secret)
    shop.doorkeeper.used = noted.append
    for _ in range(3):
        await peer.submit(b"Subject: x\r\n\r\nx")
    assert noted == []
    # As seldom as it is asked for anew.
    shop.doorkeeper.forget_all()
    for _ in range(3):
        await peer.submit(b"Subject: x\r\n\r\nx")
    assert [each.username for each in noted] == ["app"]


class Away:
    """A database that may be away."""

    def __init__(self) -> None:
        self.down = True
        self.tries = 0
        self.noted: list[dict[UUID, datetime]] = []

    async def note_uses(self, used: Any, /) -> None:
        self.tries += 1
        if self.down:
            raise Unavailable("PostgreSQL: connection refused")
        self.noted.append(dict(used))


async def test_while_the_database_is_away_it_is_kept_within_bounds() -> None:
    store, at = Away(), datetime(2026, 1, 1, tzinfo=UTC)
    uses = Uses(store, 0.001, lambda: at)
    async with uses.running():
        uses.note(CREDENTIAL)
        await until(lambda: store.tries > 2)
        for n in range(MOST + 5):
            uses.note(replace(CREDENTIAL, id=UUID(int=100 + n)))
        at += timedelta(hours=1)
        uses.note(CREDENTIAL)
        store.down = False
        await until(lambda: bool(store.noted))
    assert len(store.noted) == 1
    assert len(store.noted[0]) == MOST
    assert store.noted[0][CREDENTIAL.id] == at


def test_no_secret_of_before_shows_in_a_representation() -> None:
    phc = password_hash(PASSWORD)
    shown = repr(replace(CREDENTIAL, former=(Former(ChosenSecret(phc), now()),)))
    assert phc not in shown
