"""Accounts, credentials and suppression lists in a real PostgreSQL."""

import ipaddress
import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from backing.aws import Aws
from backing.postgres import suppressions
from backing.postgres.accounts import Accounts
from backing.postgres.pool import Database
from backing.postgres.suppressions import Suppressions
from backing.settings import Settings
from mail.accounts import (
    Account,
    ChosenSecret,
    Credential,
    GeneratedSecret,
    Quota,
    Suppression,
    address_hash,
    address_key,
)
from tests.backing.conftest import REGION

pytestmark = pytest.mark.anyio

SHOP, BAKERY = uuid.UUID(int=1), uuid.UUID(int=2)
PHC = "$argon2id$v=19$m=19456,t=2,p=1$abc$def"
MANY = 5_000
FAR = datetime(2099, 1, 1, tzinfo=UTC)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO account (id, name, allowed_domains, check_from, repair_line_ends, max_sessions, quotas) VALUES"
            " (%s, 'shop', '{a.example}', true, true, 7, %s), (%s, 'bakery', '{}', DEFAULT, DEFAULT, DEFAULT, DEFAULT)",
            (SHOP, '{"day": {"recipients": 20, "messages": 10}, "hour": {"messages": 5}}', BAKERY),
        )
    async with Database(Settings(database_url=database_url), Aws(REGION)).opened() as opened:
        yield opened


async def test_a_credential_comes_with_all_that_its_account_may_do(database: Database, database_url: str) -> None:
    ids = [uuid.UUID(int=n) for n in range(10, 14)]
    with psycopg.connect(database_url) as connection:
        connection.cursor().executemany(
            "INSERT INTO credential (id, account_id, username, digest, password_hash, networks, certificate_name)"
            " VALUES (%s, %s, %s, %s, %s, %s::cidr[], %s)",
            [
                (ids[0], SHOP, "till", bytes(32), None, ["192.0.2.0/24", "2001:db8::/32"], None),
                (ids[1], BAKERY, "desk", None, PHC, [], "desk.example"),
                (ids[2], BAKERY, "device", None, None, [], "device.example"),
            ],
        )
    accounts = Accounts(database)
    quotas = (Quota("hour", "messages", 5), Quota("day", "messages", 10), Quota("day", "recipients", 20))
    shop = Account(SHOP, "shop", frozenset({"a.example"}), True, True, 7, quotas)
    bakery = Account(BAKERY, "bakery", frozenset())
    networks = (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32"))
    desk = Credential(ids[1], "desk", ChosenSecret(PHC), bakery, (), "desk.example")
    device = Credential(ids[2], "device", None, bakery, (), "device.example")
    assert await accounts("till") == Credential(ids[0], "till", GeneratedSecret(bytes(32)), shop, networks)
    assert await accounts("desk") == desk
    assert await accounts("nobody") is None
    assert await accounts.certified(("x.example", "device.example", "desk.example")) == device
    assert await accounts.certified(("desk.example", "device.example")) == desk
    assert await accounts.certified(()) is None
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE account SET disabled_at = now() WHERE id = %s", (BAKERY,))
        connection.execute("UPDATE credential SET revoked_at = now() WHERE username = 'till'")
    assert await accounts("till") is None
    assert await accounts("desk") is None
    assert await accounts.certified(("device.example",)) is None


ACCOUNT = "UPDATE account SET "
CREDENTIAL = (
    "INSERT INTO credential (id, account_id, username, {}) SELECT id, id, 'x', {} FROM account WHERE name = 'shop'"
)
SUPPRESS = "INSERT INTO suppression (account_id, address, reason, source) SELECT id, {}, {}, '' FROM account"


@pytest.mark.parametrize(
    ("statement", "constraint"),
    [
        (ACCOUNT + "max_sessions = 0", "account_max_sessions_check"),
        *(
            (ACCOUNT + f"quotas = '{quotas}'", "account_quotas_check")
            for quotas in (
                "[]",
                '{"week": {"messages": 1}}',
                '{"day": 5}',
                '{"day": [{"messages": 5}]}',
                '{"day": {"octets": 5}}',
                '{"day": {"messages": 0}}',
                '{"day": {"messages": 1.5}}',
                '{"day": {"messages": "5"}}',
            )
        ),
        (CREDENTIAL.format("digest", "NULL"), "credential_secret_check"),
        (CREDENTIAL.format("digest, password_hash", f"sha256(''), '{PHC}'"), "credential_secret_check"),
        (CREDENTIAL.format("password_hash", "'plain text'"), "credential_password_hash_check"),
        (CREDENTIAL.format("certificate_name", "'A.example'"), "credential_certificate_name_check"),
        (SUPPRESS.format("'A@b'", "'manual'"), "suppression_address_check"),
        (SUPPRESS.format("'nobody'", "'manual'"), "suppression_address_check"),
        (SUPPRESS.format("'a@b'", "'dislike'"), "suppression_reason_check"),
    ],
)
@pytest.mark.usefixtures("database")
async def test_the_schema_refuses_what_no_code_should_write(database_url: str, statement: str, constraint: str) -> None:
    with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.CheckViolation) as refused:
        connection.execute(statement.encode())
    assert refused.value.diag.constraint_name == constraint


async def test_python_and_postgresql_agree_about_an_address(database: Database, database_url: str) -> None:
    addresses = [
        "Bob@B.example",
        "JÖRG@bücher.example",
        "İ@x.example",
        "ß@x.example",
        '"a b"@c.example',
        "😀@x.example",
    ]
    async with database.transaction() as connection:
        await suppressions.add(connection, SHOP, [entry(address) for address in addresses])
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT address, address_hash FROM suppression").fetchall()
    keys = [address_key(address) for address in addresses]
    assert sorted(rows) == sorted((key, address_hash(key)) for key in keys)
    assert keys[0] == "bob@b.example"
    lists = Suppressions(database)
    assert list((await lists.hashes(SHOP, 100)).values) == sorted(map(address_hash, keys))
    assert list((await lists.hashes(BAKERY, 100)).values) == []
    found = await lists.find(SHOP, "bOB@b.example")
    assert found is not None
    assert (found.address, found.reason, found.source, found.until) == ("bob@b.example", "bounce", "ses", None)
    assert abs(found.since - datetime.now(UTC)) < timedelta(minutes=5)
    assert await lists.find(BAKERY, "bob@b.example") is None


def entry(address: str, until: datetime | None = None, reason: str = "bounce") -> Suppression:
    return Suppression(address, reason, "ses", FAR, until)


async def test_only_what_came_later_is_read_again_and_nothing_is_missed(database: Database, database_url: str) -> None:
    lists = Suppressions(database)
    async with database.transaction() as connection:
        await suppressions.add(connection, SHOP, [entry(f"{n}@b.example") for n in range(MANY)])
    whole = await lists.hashes(SHOP, MANY + 1)
    assert list(whole.values) == sorted(address_hash(f"{n}@b.example") for n in range(MANY))
    assert len((await lists.hashes(SHOP, 10)).values) == 10
    with psycopg.connect(database_url) as slow:
        slow.execute(
            "INSERT INTO suppression (account_id, address, reason, source) VALUES (%s, 'slow@b.example', 'manual', '')",
            (SHOP,),
        )
        async with database.transaction() as connection:
            await suppressions.add(connection, SHOP, [entry("fast@b.example")])
        first = await lists.later_hashes(SHOP, whole.since, 100)
        assert first is not None
        assert list(first.values) == [address_hash("fast@b.example")]
    # It was begun before the others were read, and is committed after.
    second = await lists.later_hashes(SHOP, first.since, 100)
    assert second is not None
    assert address_hash("slow@b.example") in second.values
    assert await lists.later_hashes(SHOP, whole.since, 1) is None
    assert await lists.later_hashes(SHOP, "9223372036854775807", 100) is None


async def test_a_suppression_ends_and_may_come_again(database: Database, database_url: str) -> None:
    lists, past = Suppressions(database), datetime(2020, 1, 1, tzinfo=UTC)
    async with database.transaction() as connection:
        await suppressions.add(connection, SHOP, [entry("a@b.example", past), entry("c@b.example", FAR)])
    assert await lists.find(SHOP, "a@b.example") is None
    assert len((await lists.hashes(SHOP, 10)).values) == 1
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE suppression SET created_at = %s", (past,))
    async with database.transaction() as connection:
        await suppressions.add(connection, SHOP, [entry("a@b.example"), entry("c@b.example", reason="complaint")])
        again, kept = sorted(await suppressions.newest(connection, SHOP, 10), key=lambda one: one.address)
        assert (again.since > past, again.until) == (True, None)
        assert (kept.since, kept.until, kept.reason) == (past, None, "complaint")
        assert await suppressions.remove(connection, SHOP, "A@b.example")
        assert not await suppressions.remove(connection, SHOP, "a@b.example")


async def test_what_is_suppressed_for_one_stream_is_the_workers_to_know(database: Database) -> None:
    lists = Suppressions(database)
    listed = [
        ("a@b.example", "news"),
        ("b@b.example", ""),
        ("c@b.example", "news"),
        ("c@b.example", ""),
        ("d@b.example", "ads"),
    ]
    async with database.transaction() as connection:
        entries = [Suppression(address, "unsubscribe", "ses", FAR, None, stream) for address, stream in listed]
        await suppressions.add(
            connection, SHOP, [*entries, Suppression("e@b.example", "manual", "x", FAR, FAR, "news")]
        )
        await suppressions.add_all(connection, [(uuid.UUID(int=99), entries[0])])
        assert len(await suppressions.newest(connection, SHOP, 10)) == 6
        assert await suppressions.newest(connection, uuid.UUID(int=99), 10) == []

    async def of(stream: str, account: uuid.UUID = SHOP) -> dict[str, tuple[str, str]]:
        asked = ["A@b.example", "b@b.example", "c@b.example", "d@b.example", "f@b.example"]
        found = await lists.suppressed(account, stream, asked)
        return {address: (one.address, one.stream) for address, one in found.items()}

    everywhere = {"b@b.example": ("b@b.example", ""), "c@b.example": ("c@b.example", "")}
    assert await of("") == everywhere
    assert await of("news") == {"A@b.example": ("a@b.example", "news"), **everywhere}
    assert await of("news", BAKERY) == {}
    # The relay does not know the stream yet.
    whole = await lists.hashes(SHOP, 10)
    assert set(whole.values) == {address_hash("b@b.example"), address_hash("c@b.example")}
    assert await lists.find(SHOP, "a@b.example") is None
    assert await lists.find(SHOP, "c@b.example") is not None
    async with database.transaction() as connection:
        later = Suppression("g@b.example", "unsubscribe", "ses", FAR, None, "news")
        await suppressions.add(connection, SHOP, [later, Suppression("h@b.example", "bounce", "ses", FAR)])
        # Taken off the list is taken off for all streams.
        assert await suppressions.remove(connection, SHOP, "c@b.example")
    grown = await lists.later_hashes(SHOP, whole.since, 10)
    assert grown is not None
    assert list(grown.values) == [address_hash("h@b.example")]
    assert set(await of("news")) == {"A@b.example", "b@b.example"}
