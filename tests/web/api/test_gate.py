"""Who may call, how often, and what everybody is told."""

import io
from typing import Any

import pytest

from tests.web.conftest import Chosen
from tests.web.house import Door, serving

pytestmark = pytest.mark.anyio


async def test_without_a_good_key_nothing_is_told(door: Door) -> None:
    good = await door.key("shop")
    tried = [None, "x", good[:-1], good[:-1] + ("A" if good[-1] != "A" else "B"), "sp_aaaaaaaaaaaa_" + "a" * 43]
    answers = [await door.get("/api/v1/messages", key) for key in tried]
    assert [answer.status for answer in answers] == [401] * 5
    assert [answer.headers["www-authenticate"] for answer in answers] == [
        'Bearer realm="smtp-proxy"',
        *['Bearer realm="smtp-proxy", error="invalid_token"'] * 4,
    ]
    assert (await door.get("/api/v1/messages", good)).status == 200


@pytest.mark.requirement("CORE-API-005")
async def test_faults_are_problem_details_with_the_id_of_the_request(door: Door) -> None:
    key = await door.key("shop")
    mine: dict[str, Any] = {"headers": {"X-Request-Id": "my-own.1"}}
    answers = {
        "unauthorized": await door.get("/api/v1/messages", **mine),
        "forbidden": await door.get("/api/v1/messages", await door.key("shop", "rules:read"), **mine),
        "missing": await door.get("/api/v1/nothing", key, **mine),
        "method": await door.call("DELETE", "/api/v1/messages/x", key, **mine),
        "malformed": await door.get("/api/v1/messages/x", key, **mine),
        "unknown": await door.get("/api/v1/messages?colour=red", key, **mine),
    }
    assert {name: answer.status for name, answer in answers.items()} == {
        "unauthorized": 401,
        "forbidden": 403,
        "missing": 404,
        "method": 405,
        "malformed": 422,
        "unknown": 422,
    }
    for answer in answers.values():
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["x-request-id"] == answer.json["request"] == "my-own.1"
        assert (answer.json["type"], answer.json["status"]) == ("about:blank", answer.status)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert answers["malformed"].json["errors"][0]["where"] == "path/id"
    assert answers["unknown"].json["detail"].startswith("there is no parameter 'colour'; there are: account, cursor,")


@pytest.mark.requirement("CORE-API-004")
@pytest.mark.usefixtures("accounts")
async def test_a_key_has_its_rate_and_is_told_of_it(chosen: Chosen) -> None:
    async with serving(chosen(web_rate_per_minute=3)) as door:
        key, other, quick = await door.key("shop"), await door.key("shop"), await door.key("shop", rate_per_minute=50)
        answers = [await door.get("/api/v1/messages", key) for _ in range(7)]
        assert sorted(answer.status for answer in answers)[:3] == [200, 200, 200]
        # A minute may end meanwhile, but not two: of seven, six are answered at most.
        last = next(answer for answer in answers if answer.status == 429)
        assert (last.headers["ratelimit-limit"], last.headers["ratelimit-remaining"]) == ("3", "0")
        assert last.headers["retry-after"] == last.headers["ratelimit-reset"]
        assert 0 < int(last.headers["retry-after"]) <= 60
        assert last.headers["ratelimit-policy"] == '"key";q=3;w=60'
        assert [answer.headers["ratelimit-remaining"] for answer in answers[:3]] == ["2", "1", "0"]
        assert (await door.get("/api/v1/messages", other)).status == 200
        assert (await door.get("/api/v1/messages", quick)).headers["ratelimit-limit"] == "50"


@pytest.mark.usefixtures("accounts")
async def test_tasks_count_together_through_the_cache(chosen: Chosen, valkey_url: str) -> None:
    async with (
        serving(chosen(web_rate_per_minute=1000, cache_url=valkey_url)) as one,
        serving(chosen(web_rate_per_minute=1000, cache_url=valkey_url)) as two,
    ):
        key = await one.key("shop")
        left = [int((await door.get("/api/v1/messages", key)).headers["ratelimit-remaining"]) for door in (one, two)]
        assert left in ([999, 998], [999, 999])  # the second, if a minute has ended between


async def test_wrong_keys_cost_their_address_and_no_good_key(door: Door) -> None:
    good, wrong = await door.key("shop"), "sp_aaaaaaaaaaaa_" + "a" * 43
    answers = [await door.get("/api/v1/messages", wrong) for _ in range(32)]
    assert answers[0].status == 401
    assert 429 in {answer.status for answer in answers[-2:]}
    assert (await door.get("/api/v1/messages", good)).status == 200


@pytest.mark.requirement("CORE-API-002")
async def test_a_key_ends(door: Door) -> None:
    key = await door.key("shop")
    prefix = key.split("_")[1]
    async with door.house.office() as office:
        successor = await office.keys.rotate("shop", prefix)
        assert [(await door.get("/api/v1/messages", each)).status for each in (key, successor.token)] == [200, 200]
        await office.keys.revoke("shop", prefix)
        assert [(await door.get("/api/v1/messages", each)).status for each in (key, successor.token)] == [401, 200]
        await office.accounts.disable("shop")
        assert (await door.get("/api/v1/messages", successor.token)).status == 401
        rows = await office.keys.of("shop")
    assert [row["prefix"] for row in rows] == [prefix, successor.prefix]
    assert [row["last_used_at"] is not None for row in rows] == [True, True]
    assert [row["expires_at"] is not None for row in rows] == [True, False]
    assert not [value for row in rows for value in row.values() if isinstance(value, bytes)]


async def test_a_body_beyond_the_limit_is_refused_before_it_is_read(door: Door) -> None:
    key = await door.key("shop")
    path = "/api/v1/messages/0190a000-0000-7000-8000-000000000000/cancel"
    answer = await door.post(path, key, data=io.BytesIO(b"x" * 1_048_577))
    assert (answer.status, answer.json["detail"]) == (413, "the body of this request may have 1048576 octets")


async def test_load_balancers_need_no_key(door: Door) -> None:
    answers = [await door.get(path) for path in ("/livez", "/healthz", "/readyz", "/version")]
    assert [answer.status for answer in answers] == [200] * 4
    assert answers[2].json == {"status": "ready"}
    assert answers[0].json == answers[1].json == {"status": "alive", **answers[3].json}
