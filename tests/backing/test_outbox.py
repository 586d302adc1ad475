"""What the database writes into the outbox by itself, what endpoints get of it, and what an operator does to them."""

import base64
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest

from backing.admin.desk import AdminError, Desk
from backing.admin.webhooks import Webhooks
from backing.aws import Aws
from backing.ids import new_id
from backing.postgres.outbox import SQL, Outbox
from backing.postgres.pool import Database
from backing.secrets import Vault
from backing.settings import Settings
from mail.account_events import DATA, TYPES
from mail.states import State
from tests.backing.conftest import REGION

pytestmark = pytest.mark.anyio

SHOP, BAKERY, PROVIDER = UUID(int=1), UUID(int=2), UUID(int=3)
URL = "https://hooks.example/mail"
LONG_AGO, FAR = datetime(2020, 1, 1, tzinfo=UTC), datetime(2099, 1, 1, tzinfo=UTC)


class Rows:
    """The rows of a test's database."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection

    def run(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []

    def message(self, account: UUID = SHOP, recipients: int = 1, state: str = "queued") -> UUID:
        message = new_id()
        self.run(
            "INSERT INTO message (id, account_id, session, mail_from, header_message_id, size, sha256, smtputf8,"
            " eight_bit, accepted_at, queued_at, expires_at, stream, tags) VALUES"
            " (%s, %s, 's-1', 'a@shop.example', '<1@shop.example>', 1, %s, false, false, now(), now(), now(),"
            " 'bulk', '{red,blue}')",
            message,
            account,
            bytes(32),
        )
        self.run("INSERT INTO delivery (id, message_id, account_id) VALUES (%s, %s, %s)", message, message, account)
        self.run(
            "INSERT INTO recipient (message_id, n, account_id, delivery_id, address, state)"
            " SELECT %s, n, %s, %s, n || '@far.example', %s FROM generate_series(0, %s) n",
            message,
            account,
            message,
            state,
            recipients - 1,
        )
        return message

    def move(self, message: UUID, state: str) -> None:
        self.run("UPDATE recipient SET state = %s WHERE message_id = %s", state, message)

    def endpoint(self, account: UUID = SHOP, types: list[str] | None = None, *, enabled: bool = True) -> UUID:
        endpoint = new_id()
        self.run(
            "INSERT INTO webhook_endpoint (id, account_id, url, secret, types, enabled)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            endpoint,
            account,
            URL,
            b"sealed",
            types,
            enabled,
        )
        return endpoint

    def events(self) -> list[tuple[Any, ...]]:
        return self.run("SELECT account_id, message_id, type FROM outbox ORDER BY created_at, (payload ->> 'n')::int")

    def deliveries(self, endpoint: UUID) -> list[tuple[Any, ...]]:
        return self.run(
            "SELECT outbox.type, state FROM webhook_delivery JOIN outbox ON outbox.id = event_id"
            " WHERE endpoint_id = %s ORDER BY outbox.created_at, outbox.id",
            endpoint,
        )


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO account (id, name, allowed_domains) VALUES (%s, 'shop', '{}'), (%s, 'bakery', '{}')",
            (SHOP, BAKERY),
        )
        connection.execute("INSERT INTO provider (id, name, kind) VALUES (%s, 'main', 'smtp')", (PROVIDER,))
        yield Rows(connection)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database(Settings(database_url=database_url), Aws(REGION)).opened() as opened:
        yield opened


@pytest.fixture
async def vault(moto_url: str, aws_parts: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Vault]:
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    async with Aws(REGION).kms() as kms:
        yield Vault(kms, aws_parts["kms"])


def test_an_account_without_endpoints_is_told_nothing(rows: Rows) -> None:
    rows.endpoint(BAKERY)
    rows.move(rows.message(), "accepted")
    assert (rows.events(), rows.run("SELECT * FROM webhook_delivery")) == ([], [])


def test_a_change_of_state_is_told_with_all_fields_of_the_schema(rows: Rows) -> None:
    endpoint, message = rows.endpoint(), rows.message(recipients=2)
    rows.run(
        "UPDATE recipient SET state = 'failed', code = 550, enhanced = '5.1.1', reply = 'No \"such\" user',"
        " provider_id = %s WHERE message_id = %s AND n = 1",
        PROVIDER,
        message,
    )
    ((event, account, about, kind, payload, when),) = rows.run(
        "SELECT id, account_id, message_id, type, payload, created_at FROM outbox"
    )
    assert (account, about, kind) == (SHOP, message, "recipient.failed")
    assert set(payload) == {field.name for field in DATA}
    assert payload == {
        "message_id": str(message),
        "session": "s-1",
        "header_message_id": "<1@shop.example>",
        "stream": "bulk",
        "tags": ["red", "blue"],
        "recipient": "1@far.example",
        "n": 1,
        "state": "failed",
        "provider": "main",
        "code": 550,
        "enhanced": "5.1.1",
        "text": 'No "such" user',
    }
    assert rows.deliveries(endpoint) == [("recipient.failed", "pending")]
    assert event.version == 7
    assert abs((event.int >> 80) / 1000 - when.timestamp()) < 5


@pytest.mark.parametrize("state", State)
def test_every_state_is_told_as_the_table_says(rows: Rows, state: State) -> None:
    rows.endpoint()
    message = rows.message(state="sending" if state is State.QUEUED else "queued")
    rows.move(message, state)
    expected = [(SHOP, message, TYPES[state][0])] if state in TYPES else []
    assert rows.events() == expected
    rows.move(message, state)
    assert rows.events() == expected, "the state did not change"


def test_a_recipient_that_is_settled_when_it_is_recorded_is_told(rows: Rows) -> None:
    rows.endpoint()
    message = rows.message(recipients=2, state="suppressed")
    assert rows.events() == [(SHOP, message, "recipient.suppressed")] * 2


def test_many_recipients_of_many_accounts_are_told_by_one_statement(rows: Rows) -> None:
    shop, bakery = rows.endpoint(SHOP), rows.endpoint(BAKERY)
    rows.message(SHOP, 30), rows.message(BAKERY, 20)
    rows.run("UPDATE recipient SET state = 'accepted'")
    counts = [len(rows.deliveries(endpoint)) for endpoint in (shop, bakery)]
    assert counts == [30, 20]
    assert rows.run("SELECT count(DISTINCT id) FROM outbox") == [(50,)]


def test_what_is_rolled_back_is_not_told(rows: Rows) -> None:
    rows.endpoint()
    message = rows.message()
    with rows.connection.transaction(force_rollback=True):
        rows.move(message, "accepted")
        assert len(rows.events()) == 1
    assert rows.events() == []


def test_an_endpoint_gets_the_types_it_wants(rows: Rows) -> None:
    everything, failures = rows.endpoint(), rows.endpoint(types=["recipient.failed", "recipient.bounced"])
    rows.move(rows.message(), "accepted")
    rows.move(rows.message(), "failed")
    assert rows.deliveries(failures) == [("recipient.failed", "pending")]
    assert [kind for kind, _ in rows.deliveries(everything)] == ["recipient.accepted", "recipient.failed"]


def test_a_disabled_endpoint_gets_nothing_but_its_accounts_events_are_kept(rows: Rows) -> None:
    endpoint = rows.endpoint(enabled=False)
    message = rows.message()
    rows.move(message, "accepted")
    assert (rows.events(), rows.deliveries(endpoint)) == ([(SHOP, message, "recipient.accepted")], [])


async def test_events_of_a_time_are_replayed_to_one_endpoint(rows: Rows, database: Database) -> None:
    wanted, other = rows.endpoint(types=["recipient.accepted"]), rows.endpoint()
    foreign = rows.endpoint(BAKERY)
    rows.move(rows.message(recipients=3), "accepted")
    rows.move(rows.message(), "failed")
    rows.move(rows.message(BAKERY), "accepted")
    outbox = Outbox(database, 60)
    await outbox.test(SHOP, wanted)
    assert await outbox.replay(SHOP, wanted, LONG_AGO, FAR) == 0, "they still wait"
    rows.run("UPDATE webhook_delivery SET state = 'failed', attempts = 11, next_attempt_at = %s", FAR)
    assert await outbox.replay(SHOP, wanted, LONG_AGO, LONG_AGO + timedelta(days=1)) == 0
    assert await outbox.replay(SHOP, foreign, LONG_AGO, FAR) == 0
    assert await outbox.replay(SHOP, wanted, LONG_AGO, FAR) == 3
    again = ("recipient.accepted", "pending")
    assert rows.deliveries(wanted) == [again, again, again, ("endpoint.test", "failed")]
    assert [state for _, state in rows.deliveries(other)] == ["failed"] * 4
    assert rows.run(
        "SELECT DISTINCT attempts, next_attempt_at <= now() FROM webhook_delivery WHERE state = 'pending'"
    ) == [(0, True)]


async def test_a_replay_goes_on_over_pages_and_to_endpoints_made_later(rows: Rows, database: Database) -> None:
    rows.endpoint()
    # All of one time: pages end in the middle of it.
    rows.move(rows.message(recipients=2500), "accepted")
    later = rows.endpoint()
    since = rows.run("SELECT min(created_at) FROM outbox")[0][0]
    assert await Outbox(database, 60).replay(SHOP, later, since, FAR) == 2500
    assert len(rows.deliveries(later)) == 2500


async def test_looking_for_what_is_due_reads_only_what_is_due(rows: Rows) -> None:
    rows.endpoint()
    rows.move(rows.message(recipients=2000), "accepted")
    rows.run("UPDATE webhook_delivery SET state = 'delivered' WHERE random() < 0.99")
    rows.run("VACUUM ANALYZE webhook_delivery, webhook_endpoint, outbox")
    plan = explain(rows, SQL["take"], {"busy": [new_id()], "endpoints": 10, "each": 5, "lease": 60})
    assert "webhook_delivery_due" in json.dumps(plan)
    assert not [node for node in nodes(plan) if scans_all_of(node, {"webhook_delivery", "outbox"})]


async def test_a_replay_reads_the_events_of_its_account_and_time(rows: Rows) -> None:
    rows.endpoint()
    rows.move(rows.message(recipients=2000), "accepted")
    rows.run("VACUUM ANALYZE webhook_delivery, webhook_endpoint, outbox")
    values = {"account_id": SHOP, "endpoint_id": new_id(), "test": "t", "until": FAR, "most": 5}
    plan = explain(rows, SQL["replay"], values | {"since": LONG_AGO, "after": UUID(int=0)})
    assert "outbox_account_time" in json.dumps(plan)


def explain(rows: Rows, statement: str, values: dict[str, Any]) -> Any:
    cursor = rows.connection.execute(f"EXPLAIN (FORMAT json) {statement}".encode(), values)
    return cursor.fetchall()[0][0]


def nodes(plan: Any) -> Iterator[dict[str, Any]]:
    for each in plan if isinstance(plan, list) else [plan]:
        inner = each.get("Plan", each)
        yield inner
        yield from nodes(inner.get("Plans", []))


def scans_all_of(node: dict[str, Any], tables: set[str]) -> bool:
    return node["Node Type"] == "Seq Scan" and node["Relation Name"] in tables


async def test_an_operator_makes_and_changes_endpoints(rows: Rows, database: Database, vault: Vault) -> None:
    webhooks = Webhooks(Desk(database), vault)
    issued = await webhooks.create("shop", URL, ["recipient.failed"])
    assert issued.secret not in repr(issued)
    assert len(base64.b64decode(issued.secret.removeprefix("whsec_"))) == 32
    (shown,) = await webhooks.of("shop")
    created, sealed = shown.pop("created"), shown.pop("secret_sealed_at")
    assert shown.pop("secret_key").startswith("arn:aws:kms:")
    assert shown == {
        "id": str(issued.id),
        "url": URL,
        "types": ["recipient.failed"],
        "enabled": True,
        "disabled_reason": None,
        "failing_since": None,
        "rotating_until": None,
        "waiting": 0,
    }
    assert datetime.fromisoformat(created).tzinfo is not None
    assert datetime.fromisoformat(sealed).tzinfo is not None

    await webhooks.disable("shop", issued.id)
    (shown,) = await webhooks.of("shop")
    assert (shown["enabled"], shown["disabled_reason"]) == (False, "an operator disabled it")
    await webhooks.enable("shop", issued.id)
    (shown,) = await webhooks.of("shop")
    assert (shown["enabled"], shown["disabled_reason"]) == (True, None)

    event = await webhooks.test("shop", issued.id)
    (told,) = await webhooks.deliveries("shop", issued.id)
    assert (told["event"], told["type"], told["state"]) == (str(event), "endpoint.test", "pending")
    rows.move(rows.message(), "failed")
    rows.run("UPDATE webhook_delivery SET state = 'delivered'")
    assert await webhooks.replay("shop", issued.id, LONG_AGO, FAR) == 1

    await webhooks.delete("shop", issued.id)
    assert await webhooks.of("shop") == []


async def test_a_secret_is_sealed_and_rotates_with_an_overlap(rows: Rows, database: Database, vault: Vault) -> None:
    webhooks, outbox = Webhooks(Desk(database), vault), Outbox(database, 60)
    first = await webhooks.create("shop", URL)
    second = await webhooks.rotate("shop", first.id, timedelta(hours=1))
    await webhooks.test("shop", first.id)
    (errand,) = await outbox.take([], 10, 10)
    opened = [await vault.open(first.id, sealed) for sealed in errand.endpoint.secrets]
    assert opened == [second.secret, first.secret]
    rows.run("UPDATE webhook_endpoint SET previous_until = now()")
    await webhooks.test("shop", first.id)
    (errand,) = await outbox.take([], 10, 10)
    assert [await vault.open(first.id, sealed) for sealed in errand.endpoint.secrets] == [second.secret]


async def test_what_an_operator_gets_wrong_is_said(rows: Rows, database: Database, vault: Vault) -> None:
    webhooks, foreign = Webhooks(Desk(database), vault), rows.endpoint(BAKERY)
    for wrong, call in {
        "there is no account 'nobody'": webhooks.create("nobody", URL),
        "must begin with https://": webhooks.create("shop", "http://hooks.example/"),
        "not an address on the public internet": webhooks.create("shop", "https://169.254.169.254/latest"),
        "is no type of event": webhooks.create("shop", URL, ["recipient.lost"]),
        f"account 'shop' has no endpoint {foreign}": webhooks.rotate("shop", foreign),
        "has no endpoint": webhooks.test("shop", foreign),
        "; `webhook list` shows": webhooks.delete("shop", foreign),
    }.items():
        with pytest.raises(AdminError, match=wrong):
            await call
    assert len(await webhooks.of("bakery")) == 1
