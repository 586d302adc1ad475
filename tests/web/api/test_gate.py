"""Who may call, how often, and what everybody is told."""

import io
from typing import Any

import pytest
import structlog

from backing.health import version
from tests.web.conftest import Chosen
from tests.web.house import Door, environment, serving
from web.process import reload

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


@pytest.mark.requirement("CORE-OPS-002")
@pytest.mark.usefixtures("accounts")
async def test_limits_are_changed_while_it_serves(
    chosen: Chosen, moto_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = chosen()
    async with serving(settings) as door:
        key = await door.key("shop")
        for name, value in environment(settings, moto_url).items():
            monkeypatch.setenv(name, value)
        take = reload(door.house)
        monkeypatch.setenv("WEB_RATE_PER_MINUTE", "77")
        monkeypatch.setenv("WEB_MAX_BODY_BYTES", "65536")
        take()
        body = {"name": "x" * 70_000}
        answer = await door.post("/api/v1/keys", key, json=body)
        assert (answer.status, answer.json["detail"]) == (413, "the body of this request may have 65536 octets")
        assert (await door.get("/api/v1/messages", key)).headers["ratelimit-limit"] == "77"
        monkeypatch.setenv("WEB_MAX_BODY_BYTES", "1")
        monkeypatch.setenv("WEB_RATE_PER_MINUTE", "78")
        take()
        assert (await door.get("/api/v1/messages", key)).headers["ratelimit-limit"] == "77"


@pytest.mark.requirement("CORE-OPS-001")
@pytest.mark.usefixtures("accounts")
async def test_writes_have_their_line_whatever_the_share(chosen: Chosen) -> None:
    with structlog.testing.capture_logs() as said:
        async with serving(chosen(web_log_sample=0)) as door:
            key = await door.key("shop")
            assert (await door.get("/api/v1/messages", key)).status == 200
            assert (await door.post("/api/v1/keys", key, json={"name": "more"})).status == 201
            assert (await door.get("/api/v1/nothing", key)).status == 404
    lines = [(line["method"], line["status"]) for line in said if line["event"] == "request"]
    assert lines == [("POST", 201), ("GET", 404)]


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


@pytest.mark.requirement("CORE-API-004")
@pytest.mark.usefixtures("accounts")
async def test_a_flood_of_keys_that_nobody_has_costs_the_database_nothing_beyond_the_limit(chosen: Chosen) -> None:
    async with serving(chosen(web_key_cache_seconds=0.01)) as door:
        good, asked = await door.key("shop"), Asked(door)
        assert (await door.get("/api/v1/messages", good)).status == 200
        before = asked()
        flood = [unknown(n) for n in range(400)]
        answers = [(await door.get("/api/v1/messages", key)).status for key in flood]
        took = asked() - before
        assert answers.count(401) + answers.count(429) == 400
        assert answers[:5] == [401] * 5
        # A window may end meanwhile: then there are two with 30 wrong keys each, and what suspects share.
        assert answers.count(429) >= 300
        assert answers.count(401) <= took <= answers.count(401) + 45
        # Known here, though its time of being remembered is over; it is asked for at once.
        before = asked()
        assert (await door.get("/api/v1/messages", good)).status == 200
        assert asked() > before


@pytest.mark.usefixtures("accounts")
async def test_keys_that_nobody_has_push_no_good_key_out(chosen: Chosen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.doorkeeper.MAX_REMEMBERED", 3)
    async with serving(chosen(web_key_cache_seconds=60)) as door:
        good, wrong, asked = await door.key("shop"), f"sp_{'z' * 12}_{'a' * 43}", Asked(door)
        for key in (good, wrong, *map(unknown, range(3))):
            await door.get("/api/v1/nothing", key)
        before = asked()
        assert (await door.get("/api/v1/nothing", good)).status == 404
        assert asked() == before, "it was pushed out"
        assert (await door.get("/api/v1/nothing", wrong)).status == 401
        assert asked() == before + 1, "the oldest wrong one is forgotten"


def unknown(number: int) -> str:
    """A key that nobody has, another one for each number."""
    return f"sp_{number:012}_{'a' * 43}".translate(str.maketrans("0123456789", "bcdefghijk"))


class Asked:
    """How many transactions a door has had in the database."""

    def __init__(self, door: Door) -> None:
        self._count = 0
        self._inner, door.house.database.timed = door.house.database.timed, self._note

    def _note(self, seconds: float) -> None:
        self._count += 1
        self._inner(seconds)

    def __call__(self) -> int:
        return self._count


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


@pytest.mark.requirement("CORE-API-006")
async def test_load_balancers_need_no_key(door: Door) -> None:
    answers = [await door.get(path) for path in ("/livez", "/healthz", "/readyz", "/version")]
    assert [answer.status for answer in answers] == [200] * 4
    assert answers[3].json == {"version": version()}
    assert answers[2].json == {"status": "ready", **answers[3].json}
    assert answers[0].json == answers[1].json == {"status": "alive", **answers[3].json}
