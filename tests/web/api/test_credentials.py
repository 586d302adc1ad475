"""SMTP credentials of an account over the API."""

from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest

from backing.ids import now
from tests.web.conftest import Chosen
from tests.web.house import Door, noted, serving

pytestmark = pytest.mark.anyio
V1 = "/api/v1"


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(web_rate_per_minute=1000)) as serves:
        yield serves


@pytest.mark.requirement("CORE-API-001")
async def test_a_credential_is_made_exchanged_and_revoked(door: Door, database_url: str) -> None:
    key, path = await door.key("shop"), f"{V1}/credentials"
    ends = "2099-02-01T00:00:00Z"
    made = await door.post(path, key, json={"username": "app", "expires_at": ends, "networks": ["192.0.2.0/24"]})
    assert (made.status, made.json["username"]) == (201, "app")
    (before,) = (await door.get(path, key)).json["items"]
    assert before == {
        "username": "app",
        "password": "generated",
        "networks": ["192.0.2.0/24"],
        "certificate_name": None,
        "revoked": False,
        "expired": False,
        "created": before["created"],
        "expires_at": ends,
        "last_used_at": None,
        "rotating_until": None,
    }
    rotated = await door.post(f"{path}/app/rotate", key, json={"overlap_hours": 2})
    assert (rotated.status, rotated.json["username"], len(rotated.json["password"])) == (201, "app", 43)
    assert rotated.json["password"] != made.json["password"]
    (after,) = (await door.get(path, key)).json["items"]
    until = datetime.fromisoformat(after["rotating_until"])
    assert abs(until - now() - timedelta(hours=2)) < timedelta(minutes=1)
    assert after == before | {"rotating_until": after["rotating_until"]}
    assert (await door.post(f"{path}/app/rotate", key)).status == 201
    full = await door.post(f"{path}/app/rotate", key)
    assert (full.status, full.json["detail"]) == (
        409,
        "2 passwords of before are good still; wait, or rotate without an overlap",
    )
    assert (await door.post(f"{path}/app/rotate", key, json={"overlap_hours": 0})).status == 201
    assert [each["rotating_until"] for each in (await door.get(path, key)).json["items"]] == [None]
    over = await door.post(path, key, json={"expires_at": "2020-01-01T00:00:00Z"})
    assert over.status == 422
    assert (await door.call("DELETE", f"{path}/app", key)).status == 204
    assert (await door.post(f"{path}/app/rotate", key)).status == 404
    assert noted(database_url) == [
        ("credential.create", "app"),
        *[("credential.rotate", "app")] * 3,
        ("credential.revoke", "app"),
    ]


@pytest.mark.requirement("CORE-API-003")
async def test_which_certificate_signs_in_is_for_an_operator_to_say(door: Door) -> None:
    new, path = {"username": "till", "certificate_name": "Till.shop.example"}, f"{V1}/credentials"
    refused = await door.post(path, await door.key("shop"), json=new)
    assert (refused.status, refused.json["detail"]) == (403, "which certificate signs in is for an operator to say")
    operator = await door.key()
    assert (await door.post(f"{path}?account=shop", operator, json=new)).status == 201
    (shown,) = (await door.get(path, await door.key("shop"))).json["items"]
    assert shown["certificate_name"] == "till.shop.example"
    for name in ("", " ", "a\0b"):
        answer = await door.post(f"{path}?account=shop", operator, json={"certificate_name": name})
        assert answer.status == 422, name
