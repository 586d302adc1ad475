"""Where an account's mail goes, read from a real PostgreSQL."""

import uuid
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg.types.json import Jsonb

from backing.aws import Aws
from backing.postgres.pool import Database
from backing.postgres.routing import ProviderRow, Routing, Routings
from backing.settings import Settings
from mail.errors import Unavailable
from mail.routing.conditions import Question
from mail.routing.rules import Decision, Discard, Plan, Skipped
from tests.backing.conftest import REGION

pytestmark = pytest.mark.anyio

SHOP, BAKERY = uuid.UUID(int=1), uuid.UUID(int=2)
OWN, SHARED, OTHERS, NAMESAKE = (uuid.UUID(int=n) for n in range(10, 14))
ASKED = Question(message_id=uuid.UUID(int=7), mail_from="x@shop.example", tags=("bulk",))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO account (id, name, allowed_domains) VALUES (%s, 'shop', '{}'), (%s, 'bakery', '{}')",
            (SHOP, BAKERY),
        )
        connection.cursor().executemany(
            "INSERT INTO provider (id, account_id, name, kind, config, secret, enabled, version, limits,"
            " allowed_domains) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
            [
                (SHARED, None, "main", "ses", Jsonb({"region": "eu-west-1"}), None, True, 1, Jsonb({"rate": 14}), None),
                (OWN, SHOP, "main", "smtp", Jsonb({"host": "h"}), b"\x00sealed", True, 3, Jsonb({}), ["a.example"]),
                (OTHERS, BAKERY, "main", "smtp", Jsonb({}), None, True, 1, Jsonb({}), None),
                (NAMESAKE, None, "spare", "sandbox", Jsonb({}), None, False, 2, Jsonb({}), []),
            ],
        )
        connection.execute("UPDATE account SET default_provider_id = %s WHERE id = %s", (SHARED, SHOP))
    async with Database(Settings(database_url=database_url), Aws(REGION)).opened() as opened:
        yield opened


def make_rule(url: str, number: int, account: uuid.UUID, match: object, action: object, priority: int = 100) -> None:
    with psycopg.connect(url) as connection:
        connection.execute(
            "INSERT INTO routing_rule (id, account_id, name, priority, match, action) VALUES (%s, %s, %s, %s, %s, %s)",
            (uuid.UUID(int=number), account, f"r{number}", priority, Jsonb(match), Jsonb(action)),
        )


def decided(routing: Routing) -> Decision:
    return routing.table.decide(ASKED, "b@far.example")


async def test_an_account_has_its_own_providers_and_the_shared_ones_and_no_others(database: Database) -> None:
    routing = await Routings(database).load(SHOP)
    own = ProviderRow(OWN, "main", "smtp", {"host": "h"}, b"\x00sealed", 3, True, {}, ("a.example",))
    shared = ProviderRow(SHARED, "main", "ses", {"region": "eu-west-1"}, None, 1, True, {"rate": 14}, None)
    spare = ProviderRow(NAMESAKE, "spare", "sandbox", {}, None, 2, False, {}, ())
    assert list(routing.providers.values()) == [own, shared, spare]
    assert "sealed" not in repr(own)
    assert decided(routing) == Decision(None, Plan((SHARED,)))


async def test_rules_mean_the_accounts_own_provider_and_are_its_own(database: Database, database_url: str) -> None:
    to_main = {"type": "route", "targets": [{"provider": "main"}], "failover": ["spare"]}
    make_rule(database_url, 20, SHOP, {"all": [{"tag": "bulk"}]}, to_main)
    make_rule(database_url, 21, BAKERY, {}, {"type": "discard"}, priority=1)
    skipped = (Skipped("spare", "it is disabled"), Skipped("main", "it does not send for shop.example"))
    assert decided(await Routings(database).load(SHOP)) == Decision(uuid.UUID(int=20), Plan((), skipped=skipped))
    assert decided(await Routings(database).load(BAKERY)) == Decision(uuid.UUID(int=21), Discard())


async def test_mail_waits_at_a_rule_that_cannot_be_read(database: Database, database_url: str) -> None:
    make_rule(database_url, 20, SHOP, {"all": [{"moon": "full"}]}, {"type": "discard"})
    decision = decided(await Routings(database).load(SHOP))
    assert isinstance(decision.course, Plan)
    (skipped,) = decision.course.skipped
    assert (decision.rule_id, decision.course.providers) == (uuid.UUID(int=20), ())
    assert skipped.reason.startswith("the rule cannot be read: match.all[0] has no condition 'moon'; expected one of ")


async def test_an_account_that_is_gone_has_nothing(database: Database) -> None:
    routing = await Routings(database).load(uuid.UUID(int=3))
    nowhere = Plan((), skipped=(Skipped("-", "the account has no default provider"),))
    assert (routing.providers, decided(routing)) == ({}, Decision(None, nowhere))


async def test_a_database_that_is_away_is_said() -> None:
    settings = Settings(database_url="postgresql://u@127.0.0.1:9/d", database_acquire_timeout_seconds=1)
    async with Database(settings, Aws(REGION)).opened() as database:
        with pytest.raises(Unavailable):
            await Routings(database).load(SHOP)
