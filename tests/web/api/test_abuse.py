"""A tenant who tries everything on another one: each operation of the contract, so that a new one is tried as well."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest

from backing.admin.credentials import NewCredential
from backing.admin.keys import NewKey
from backing.admin.providers import NewProvider
from backing.ids import new_id, now
from backing.postgres.audit import Deed
from tests.backing.mailbook import BAKERY, SHOP, Mailbook
from tests.web.conftest import Chosen
from tests.web.contract import Operation, operations
from tests.web.house import Answer, Door, patient, serving
from web.api.operations import ROOT

pytestmark = pytest.mark.anyio
SAME: dict[str, Any] = {"X-Request-Id": "r"}
ROUTE = {"type": "discard"}
LETTER = {"from": {"address": "a@shop.example"}, "to": [{"address": "b@far.example"}], "text": "x"}
# A body that each operation takes; one that needs none has none here.
BODIES: Mapping[str, dict[str, Any]] = {
    "POST /messages": LETTER,
    "POST /message-orders": {"order": "cancel", "filter": {"state": "held"}, "dry_run": False},
    "POST /messages/{id}/reroute": {"rules": True},
    "POST /accounts": {"name": "new", "allowed_domains": ["new.example"], "provider": "shared"},
    "PATCH /accounts/{name}": {"max_sessions": 3},
    "POST /accounts/{name}/rotate-key": {"overlap_hours": 1},
    "POST /credentials": {"username": "another"},
    "POST /credentials/{username}/rotate": {"overlap_hours": 1},
    "POST /keys": {"name": "another"},
    "POST /keys/{prefix}/rotate": {"overlap_hours": 1},
    "POST /providers": {"name": "another", "kind": "sandbox"},
    "PATCH /providers/{name}": {"limits": {"rate": 1}},
    "PUT /providers/{name}/secret": {"secret": "mine now"},
    "POST /providers/{name}/tests": {"from": "a@bakery.example", "to": "b@far.example"},
    "POST /rules": {"name": "another", "priority": 1, "action": ROUTE},
    "PATCH /rules/{name}": {"priority": 9},
    "POST /rules/simulate": {"recipients": ["b@far.example"]},
    "POST /suppressions": {"addresses": ["b@far.example"]},
    "POST /suppressions/remove": {"addresses": ["them@far.example"]},
    "POST /webhooks": {"url": "https://shop.example/events"},
    "PATCH /webhooks/{id}": {"url": "https://shop.example/others"},
    "POST /webhooks/{id}/rotate": {"overlap_hours": 1},
    "POST /webhooks/{id}/replay": {"since": "2026-01-01T00:00:00Z"},
    "POST /dead-letters/redrive": {"ids": None},
}
# The only list of what is not of one account; a tenant's has its own.
ACCOUNTS = f"GET {ROOT}/accounts"
# An id that no worker has written down may be that of a message on its way: the order is noted, for the own account's.
NOTED = {f"POST {ROOT}/messages/{{id}}/{verb}" for verb in ("cancel", "hold", "release", "reroute")}
OTHERS = ("account_id", "id", "owner", "account", "scopes", "created_at", "revoked_at", "digest", "version", "state")


@dataclass(frozen=True)
class Names:
    """What things are called: another tenant's, or nobody's."""

    account: str
    message: UUID
    endpoint: UUID
    rule: str
    provider: str
    username: str
    prefix: str
    caller: UUID
    test: UUID

    def fill(self, path: str) -> str:
        id_ = self.endpoint if "/webhooks" in path else self.caller if "/provider-events" in path else self.message
        id_ = self.test if "/tests/" in path else id_
        name = self.account if "/accounts" in path else self.rule if "/rules" in path else self.provider
        return path.format(id=id_, name=name, prefix=self.prefix, username=self.username)

    def hidden(self, answer: Answer) -> tuple[int, str]:
        """An answer without what was asked for."""
        text = answer.body.decode()
        for value in (
            self.message,
            self.test,
            self.endpoint,
            self.rule,
            self.provider,
            self.username,
            self.prefix,
            self.account,
        ):
            text = text.replace(str(value), "ITS")
        return answer.status, text


NOBODYS = Names(
    account="nobody",
    message=new_id(),
    endpoint=UUID("01990000-0000-7000-8000-000000000002"),
    rule="no-rule",
    provider="no-provider",
    username="no-user",
    prefix="aaaaaaaaaaaa",
    caller=UUID("01990000-0000-7000-8000-000000000003"),
    test=UUID("01990000-0000-7000-8000-000000000004"),
)


@pytest.fixture
def book(database_url: str) -> Mailbook:
    book = Mailbook(database_url)
    book.run("UPDATE account SET allowed_domains = ARRAY[name || '.example']")
    return book


@pytest.fixture
async def door(chosen: Chosen, book: Mailbook) -> AsyncIterator[Door]:  # noqa: ARG001 - its accounts
    async with serving(chosen(), patient) as serves:
        yield serves


@pytest.fixture
async def theirs(door: Door, book: Mailbook) -> Names:
    """All that an account can have, had by the bakery."""
    deed = Deed(account="bakery", actor="a", action="b", subject="c", request="r", peer="p")
    async with door.house.office(deed) as office:
        event_key = json.dumps({"event_key": "k" * 32})
        await office.providers.create("bakery", NewProvider("oven", "mailgun", {"domain": "bakery.example"}, event_key))
        await office.rules.create("bakery", {"name": "theirs", "priority": 1, "match": {}, "action": ROUTE})
        await office.suppressions.add("bakery", ["them@far.example"], "manual", None)
        made = await office.credentials.create("bakery", NewCredential())
        key = await office.keys.create("bakery", NewKey("theirs"))
        endpoint = await office.webhooks.create("bakery", "https://bakery.example/events")
        await office.webhooks.test("bakery", endpoint.id)
        test = await office.inquiries.test("bakery", "oven", "a", {})
    message = book.mail(book.provider(BAKERY), "held", "them@far.example", account_id=BAKERY, delivery="deferred")
    ((caller,),) = book.run("SELECT id FROM provider WHERE name = 'oven'")
    return Names("bakery", message, endpoint.id, "theirs", "oven", made.username, key.prefix, caller, test)


def rows(url: str) -> dict[str, list[Any]]:
    """All rows of all tables, but when keys were used."""
    with psycopg.connect(url) as connection:
        tables = [name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
        return {
            name: connection.execute(
                f"SELECT to_jsonb(x) - 'last_used_at' FROM {name} AS x ORDER BY 1".encode()  # noqa: S608 - a table's name
            ).fetchall()
            for name in tables
        }


async def contract(door: Door) -> tuple[dict[str, Any], list[Operation]]:
    told = (await door.get("/openapi.json")).json
    return told, operations(told)


def body_of(each: Operation) -> dict[str, Any] | None:
    return BODIES.get(f"{each.method} {each.path.removeprefix(ROOT)}")


def takes_account(told: dict[str, Any], each: Operation) -> bool:
    parameters = told["paths"][each.path][each.method.lower()].get("parameters", [])
    return any(parameter["name"] == "account" for parameter in parameters)


async def tried(door: Door, key: str, each: Operation, names: Names, **params: str) -> tuple[int, str]:
    options = {"json": body_of(each)} if body_of(each) else {}
    answer = await door.call(each.method, names.fill(each.path), key, headers=SAME, params=params, **options)
    return names.hidden(answer)


@pytest.mark.requirement("CORE-API-003")
async def test_what_is_anothers_looks_like_what_is_not_there(door: Door, theirs: Names, database_url: str) -> None:
    told, all_ = await contract(door)
    keys = {each: await door.key("shop") for each in all_}
    before, wrong = rows(database_url), []
    for each in all_:
        asked: list[dict[str, str]] = [{}] if "{" in each.path else []
        asked += [{"account": "bakery"}] if takes_account(told, each) else []
        assert asked or each.for_operators or each.label == ACCOUNTS, each
        for params in asked or [{}]:
            unknown = dict.fromkeys(params, "nobody")
            seen = await tried(door, keys[each], each, theirs, **params)
            assert seen == await tried(door, keys[each], each, NOBODYS, **unknown), each
            wrong += [(each.label, *params, seen)] if seen[0] != expected(each) else []
    assert wrong == []
    after = rows(database_url)
    noted, changes = after.pop("early_order"), after.pop("audit_log")
    assert {row["account_id"] for (row,) in noted} == {str(SHOP)}
    assert {row["account_id"] for (row,) in changes if (row,) not in before["audit_log"]} == {str(SHOP)}
    assert after == {name: kept for name, kept in before.items() if name not in {"early_order", "audit_log"}}


async def test_what_is_ordered_of_anothers_mail_never_meets_it(door: Door, theirs: Names, database_url: str) -> None:
    """Not even once a worker takes up work that was written down before."""
    key = await door.key("shop")
    for verb in ("hold", "release", "cancel"):
        assert (await door.post(f"{ROOT}/messages/{theirs.message}/{verb}", key)).status == 202
    operator, path = await door.key(), f"{ROOT}/messages/{theirs.message}/release"
    assert (await door.post(path, operator)).json["recipients"] == [0]
    with psycopg.connect(database_url) as connection:
        states = connection.execute("SELECT state, reply FROM recipient WHERE message_id = %s", [theirs.message])
        assert states.fetchall() == [("queued", "released by an operator")]


def expected(each: Operation) -> int:
    if each.scope is None:
        return 401
    if each.label in NOTED:
        return 202
    return 200 if each.label == ACCOUNTS else 403 if each.for_operators else 404


@pytest.mark.requirement("CORE-API-003")
async def test_lists_filters_and_cursors_show_ones_own(door: Door, theirs: Names, book: Mailbook) -> None:
    book.mail(book.provider(BAKERY), account_id=BAKERY)
    key, operator = await door.key("shop"), await door.key()
    page = (await door.get(f"{ROOT}/messages?account=bakery&limit=1", operator)).json
    noted = (await door.get(f"{ROOT}/audit-log?account=bakery&limit=1", operator)).json
    mine = str(book.mail(book.provider(), "accepted", "me@far.example"))
    assert page["next"]
    assert noted["next"]
    found = {
        query: (await door.get(f"{ROOT}/{query}", key)).json["items"]
        for query in (
            f"messages?cursor={page['next']}",
            "messages?recipient=them@far.example",
            f"audit-log?before={noted['next']}",
            "webhooks",
            "rules",
            "credentials",
            "suppressions",
            "audit-log",
        )
    }
    assert {query: items for query, items in found.items() if items} == {}
    assert [each["id"] for each in (await door.get(f"{ROOT}/messages", key)).json["items"]] == [mine]
    assert [each["name"] for each in (await door.get(f"{ROOT}/accounts", key)).json["items"]] == ["shop"]
    assert {each["account"] for each in (await door.get(f"{ROOT}/providers", key)).json["items"]} == {"shop"}
    assert theirs.prefix not in {each["prefix"] for each in (await door.get(f"{ROOT}/keys", key)).json["items"]}


async def test_names_within_bodies_are_of_the_own_account(door: Door, theirs: Names, database_url: str) -> None:
    key = await door.key("shop")
    await door.post(f"{ROOT}/rules", key, json=BODIES["POST /rules"])
    before = rows(database_url)
    for names in (theirs, NOBODYS):
        route = {"type": "route", "targets": [{"provider": names.provider}]}
        answers = [
            await door.post(f"{ROOT}/rules", key, json={"name": "r", "priority": 1, "action": route}),
            await door.call("PATCH", f"{ROOT}/rules/another", key, json={"action": route}),
            await door.post(f"{ROOT}/suppressions/remove", key, json={"addresses": ["them@far.example"]}),
            await door.post(f"{ROOT}/webhooks/{names.endpoint}/replay?account=shop", key, json=replayed()),
        ]
        assert [answer.status for answer in answers] == [422, 422, 404, 404], names
        assert answers[0].json["detail"] == f"there is no provider {names.provider!r} that this account may use"
    assert rows(database_url) == before


def replayed() -> dict[str, Any]:
    return BODIES["POST /webhooks/{id}/replay"]


@pytest.mark.requirement("CORE-API-003")
async def test_nobody_sends_fields_that_are_not_his_to_say(door: Door, theirs: Names, database_url: str) -> None:
    told, all_ = await contract(door)
    schemas, tenant, operator = told["components"]["schemas"], await door.key("shop"), await door.key()
    before, tries = rows(database_url), 0
    for each in all_:
        content = told["paths"][each.path][each.method.lower()].get("requestBody", {}).get("content", {})
        if "application/json" not in content:
            assert body_of(each) is None, each
            continue
        body = body_of(each)
        assert body is not None, f"say in BODIES what {each.label} takes"
        known = properties(content["application/json"]["schema"], schemas)
        for name in sorted(set(OTHERS) - known):
            sent = body | {name: str(BAKERY)}
            key = operator if each.for_operators else tenant
            answer = await door.call(each.method, theirs.fill(each.path), key, json=sent)
            assert answer.status == 422, (each, name)
            assert name in {fault["where"].rpartition("/")[2] for fault in answer.json["errors"]}, (each, name)
            tries += 1
    assert tries > 150
    assert rows(database_url) == before


def properties(schema: dict[str, Any], schemas: dict[str, Any]) -> set[str]:
    found = set(schema.get("properties", {}))
    for part in (schema, *schema.get("anyOf", ())):
        if "$ref" in part:
            found |= properties(schemas[part["$ref"].rpartition("/")[2]], schemas)
    return found


@pytest.mark.requirement("CORE-API-002")
async def test_a_key_that_has_ended_opens_nothing(door: Door, theirs: Names, database_url: str) -> None:
    _, all_ = await contract(door)
    keys = {
        "revoked": await door.key(),
        "expired": await door.key(expires_at=now()),
        "unknown": f"sp_{'a' * 12}_{'a' * 43}",
    }
    async with door.house.office() as office:
        await office.keys.revoke(None, keys["revoked"].split("_")[1])
    before = rows(database_url)
    for each in all_:
        if each.scope is not None:
            answers = [await tried(door, key, each, theirs) for key in keys.values()]
            assert [status for status, _ in answers] == [401, 401, 401], each
            assert len(set(answers)) == 1, each
    assert rows(database_url) == before


async def test_an_idempotency_key_is_each_accounts_own(door: Door, book: Mailbook) -> None:
    headers = {"Idempotency-Key": "order-17"}
    answers = [
        await door.post(f"{ROOT}/messages", await door.key(name), headers=headers, json=letter)
        for name, letter in (("bakery", LETTER | {"from": {"address": "a@bakery.example"}}), ("shop", LETTER))
    ]
    assert [(answer.status, answer.json["replayed"]) for answer in answers] == [(202, False), (202, False)]
    assert answers[0].json["id"] != answers[1].json["id"]
    assert book.run("SELECT count(DISTINCT account_id) FROM api_submission") == [(2,)]


async def test_an_idempotency_key_shows_nothing_of_another_account(door: Door, database_url: str) -> None:
    headers, rule = {"Idempotency-Key": "order-17"}, BODIES["POST /rules"]
    bakery, key = await door.key("bakery"), await door.key("shop")
    theirs = await door.post(f"{ROOT}/rules", bakery, headers=headers, json=rule)
    before = rows(database_url)
    for account in ("bakery", "nobody"):
        answer = await door.post(f"{ROOT}/rules?account={account}", key, headers=headers | SAME, json=rule)
        assert (answer.status, answer.json["detail"]) == (404, f"there is no account {account!r}")
    assert rows(database_url) == before
    mine = await door.post(f"{ROOT}/rules", key, headers=headers, json=rule)
    assert (theirs.status, mine.status, "idempotency-replayed" in mine.headers) == (201, 201, False)
    assert mine.json["id"] != theirs.json["id"]
