"""Lists in pages: all of a list comes, each of it once, and nothing of another account's."""

from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio
V1 = "/api/v1"
DISCARD: dict[str, Any] = {"type": "discard"}
# Where a list is, and by what its items are known.
LISTS = {
    "/accounts": "name",
    "/credentials?account=shop": "username",
    "/keys?account=shop": "prefix",
    "/keys": "prefix",
    "/providers": "id",
    "/providers?account=shop": "id",
    "/rules?account=shop": "id",
    "/webhooks?account=shop": "id",
}


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(web_rate_per_minute=1000)) as serves:
        yield serves


@pytest.fixture
async def operator(door: Door, database_url: str) -> str:
    """The key of an operator, where both accounts have five of all that can be listed."""
    key = await door.key()
    for account in ("shop", "bank"):
        at, name = f"?account={account}", f"{account}-%s"
        for n in range(5):
            made = [
                await door.post(f"{V1}/credentials{at}", key, json={"username": name % n}),
                await door.post(f"{V1}/keys{at}", key, json={"name": "k"}),
                await door.post(f"{V1}/keys", key, json={"name": "k"}),
                await door.post(f"{V1}/providers{at}", key, json={"name": f"p-{n}", "kind": "sandbox"}),
                await door.post(f"{V1}/rules{at}", key, json={"name": name % n, "priority": n % 2, "action": DISCARD}),
                await door.post(f"{V1}/webhooks{at}", key, json={"url": f"https://hooks.example.com/{n}"}),
            ]
            assert {answer.status for answer in made} == {201}
    for n in range(2):
        assert (await door.post(f"{V1}/providers", key, json={"name": f"all-{n}", "kind": "sandbox"})).status == 201
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO account (id, name, allowed_domains) SELECT gen_random_uuid(), 'more-' || n, '{}'"
            " FROM generate_series(1, 3) AS n"
        )
    return key


async def pages(door: Door, key: str, path: str, limit: int) -> list[list[dict[str, Any]]]:
    found, cursor = [], ""
    while True:
        params = {"limit": str(limit), **({"cursor": cursor} if cursor else {})}
        page = await door.get(V1 + path, key, params=params)
        assert page.status == 200, page
        found.append(page.json["items"])
        if page.json["next"] is None:
            return found
        cursor = page.json["next"]


@pytest.mark.requirement("CORE-API-001")
async def test_a_list_comes_in_pages(door: Door, operator: str) -> None:
    for path, name in LISTS.items():
        (whole,) = await pages(door, operator, path, 1000)
        assert len(whole) >= 5, path
        assert (await pages(door, operator, path, len(whole))) == [whole]
        parts = await pages(door, operator, path, 2)
        assert {len(part) for part in parts[:-1]} == {2}, path
        known = [each.get(name) or (each["account"], each["name"]) for part in parts for each in part]
        assert known == [each.get(name) or (each["account"], each["name"]) for each in whole], path
        assert len(set(known)) == len(known)
        for limit in ("0", "1001"):
            assert (await door.get(V1 + path, operator, params={"limit": limit})).status == 422
        for cursor in ("x", "WzFd", "WyJ4IiwieSIsInoiXQ", "W10"):
            assert (await door.get(V1 + path, operator, params={"cursor": cursor})).status == 422
    assert [each["name"] for each in (await pages(door, operator, "/rules?account=shop", 9))[0]] == [
        *(f"shop-{n}" for n in (0, 2, 4, 1, 3))
    ]


@pytest.mark.requirement("CORE-API-003")
async def test_a_cursor_of_another_account_shows_ones_own(door: Door, operator: str) -> None:
    shop = await door.key("shop")
    for path in ("/credentials", "/keys", "/providers", "/rules", "/webhooks"):
        foreign = (await door.get(f"{V1}{path}?account=bank&limit=2", operator)).json
        (whole,) = await pages(door, shop, path, 1000)
        mine = (await door.get(V1 + path, shop, params={"cursor": foreign["next"]})).json["items"]
        assert [each for each in mine if each not in whole] == [], path
    assert (await pages(door, shop, "/accounts", 1))[0][0]["name"] == "shop"


async def test_what_was_posted_comes_in_pages(door: Door, operator: str) -> None:
    shop = await door.key("shop")
    (hooks,) = await pages(door, shop, "/webhooks", 1000)
    path = f"/webhooks/{hooks[0]['id']}"
    sent = [(await door.post(f"{V1}{path}/test", shop)).json["event"] for _ in range(5)]
    parts = await pages(door, shop, f"{path}/deliveries", 2)
    assert [[each["event"] for each in part] for part in parts] == [sent[:2:-1], sent[2:0:-1], sent[:1]]
    bank = (await pages(door, operator, "/webhooks?account=bank", 1000))[0][0]["id"]
    theirs = (await door.post(f"{V1}/webhooks/{bank}/test?account=bank", operator)).json["event"]
    cursor = (await door.get(f"{V1}{path}/deliveries?limit=1", shop)).json["next"]
    other = await door.get(f"{V1}/webhooks/{bank}/deliveries?account=bank", operator, params={"cursor": cursor})
    assert (other.status, other.json["items"], UUID(theirs).version) == (200, [], 7)


async def test_lists_in_bodies_have_bounds(door: Door, operator: str) -> None:
    many = [f"a{n}.example" for n in range(1001)]
    new = {"name": "many", "kind": "sandbox"}
    assert (await door.post(f"{V1}/providers", operator, json={**new, "allowed_domains": many})).status == 422
    made = await door.post(f"{V1}/providers", operator, json={**new, "allowed_domains": many[1:]})
    assert (made.status, len(made.json["allowed_domains"])) == (201, 1000)
    changed = await door.call("PATCH", f"{V1}/providers/many", operator, json={"allowed_domains": many})
    assert changed.status == 422
