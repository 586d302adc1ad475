"""Configurations of providers are checked when they are written: over the API, which is the same as by command."""

from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from backing.admin.providers import KINDS
from backing.provider_configs import CONFIGS
from tests.web.conftest import Chosen
from tests.web.house import Door, serving

V1 = "/api/v1"
WITHIN = "nor within PROVIDER_ALLOWED_NETWORKS"

pytestmark = pytest.mark.anyio


async def create(door: Door, key: str, kind: str, config: dict[str, Any], name: str = "main") -> tuple[int, str]:
    answer = await door.post(f"{V1}/providers", key, json={"name": name, "kind": kind, "config": config})
    return answer.status, answer.json.get("detail", "")


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize(
    ("kind", "config", "why"),
    [
        (
            "smtp",
            {"host": "169.254.169.254"},
            "config: host: 169.254.169.254 is not an address on the public internet",
        ),
        ("smtp", {"host": "localhost"}, "config: host: localhost is not on the public internet"),
        (
            "smtp",
            {"host": "::ffff:10.0.0.1"},
            "config: host: ::ffff:10.0.0.1 is not an address on the public internet",
        ),
        (
            "postmark",
            {"smtp": {"host": "10.0.0.1"}},
            "config: smtp.host: 10.0.0.1 is not an address on the public internet",
        ),
        (
            "sendgrid",
            {"smtp": {"host": "127.0.0.1"}},
            "config: smtp.host: 127.0.0.1 is not an address on the public internet",
        ),
        (
            "ses",
            {"endpoint": "https://169.254.170.2/"},
            "config: endpoint: 169.254.170.2 is not an address on the public internet",
        ),
        (
            "mailgun",
            {"domain": "mg.example", "endpoint": "http://localhost:8080"},
            "config: endpoint: localhost is not on the public internet",
        ),
    ],
)
async def test_a_host_within_is_refused(door: Door, kind: str, config: dict[str, Any], why: str) -> None:
    key = await door.key()
    assert await create(door, key, kind, config) == (422, f"{why}, {WITHIN}")
    good = {"smtp": {"host": "mail.example.net"}, "mailgun": {"domain": "mg.example"}}.get(kind, {})
    assert await create(door, key, kind, good) == (201, "")
    changed = await door.call("PATCH", f"{V1}/providers/main", key, json={"config": config})
    assert (changed.status, changed.json["detail"]) == (422, f"{why}, {WITHIN}")
    assert (await door.get(f"{V1}/providers/main", key)).json["config"] == good


async def test_networks_of_our_own_may_be_allowed(chosen: Chosen) -> None:
    async with serving(chosen(provider_allowed_networks="10.8.0.0/16 127.0.0.0/8")) as door:
        key = await door.key()
        assert await create(door, key, "smtp", {"host": "10.8.1.2"}, "a") == (201, "")
        assert await create(door, key, "smtp", {"host": "localhost"}, "b") == (201, "")
        assert (await create(door, key, "smtp", {"host": "10.9.1.2"}, "c"))[0] == 422


@pytest.mark.parametrize(
    ("kind", "config", "why"),
    [
        (
            "smtp",
            {"hots": "x", "port": "a"},
            (
                "config: host: Field required; "
                "port: Input should be a valid integer, unable to parse string as an integer; "
                "hots: there is no such key; there are: host, port, tls, username, ca, pin, hello, timeout, "
                "max_connections, max_idle_seconds, max_messages, dkim"
            ),
        ),
        ("ses", {"max_recipients": 51}, "config: max_recipients: Input should be less than or equal to 50"),
        (
            "ses",
            {"dkim": {"domain": "a.example", "selektor": "x"}},
            (
                "config: dkim.selector: Field required; "
                "dkim.selektor: there is no such key; there are: domain, selector, key, leave_out"
            ),
        ),
        ("mailgun", {}, "config: domain: Field required"),
        (
            "mailgun",
            {"domain": "mg.example", "endpoint": "http://mg.example"},
            "config: endpoint: must begin with https://, since requests carry a secret",
        ),
        (
            "sendgrid",
            {"smtp": {"prot": 25}},
            (
                "config: smtp.prot: there is no such key; there are: host, port, tls, "
                "username, ca, pin, hello, timeout, max_connections, max_idle_seconds, max_messages, dkim"
            ),
        ),
        (
            "sendgrid",
            {"smtp": {"tls": "none"}},
            "config: smtp.tls: none would show the password; use starttls or implicit",
        ),
        (
            "postmark",
            {"mode": "api", "dkim": {"domain": "a.example", "selector": "s"}},
            "config: dkim: in mode api the provider writes the message itself, so it must sign it; use mode smtp",
        ),
        ("postmark", {"smtp": {"dkim": None}}, "config: smtp.dkim: dkim stands beside smtp, not in it"),
        (
            "smtp",
            {"host": "mx.example", "pin": "0" * 64, "tls": "none"},
            "config: pin: it needs tls starttls or implicit",
        ),
        ("sandbox", {"chances": {"bounce": 0.6, "defer": 0.6}}, "config: chances: together they are more than 1"),
    ],
)
async def test_what_no_worker_could_use_is_refused(door: Door, kind: str, config: dict[str, Any], why: str) -> None:
    assert await create(door, await door.key(), kind, config) == (422, why)


async def test_a_change_is_judged_by_what_comes_of_it(door: Door) -> None:
    key = await door.key()
    pinned = {"host": "mx.example", "pin": "0" * 64}
    assert await create(door, key, "smtp", pinned) == (201, "")
    path = f"{V1}/providers/main"
    refused = await door.call("PATCH", path, key, json={"config": {"tls": "none"}})
    assert (refused.status, refused.json["detail"]) == (422, "config: pin: it needs tls starttls or implicit")
    refused = await door.call("PATCH", path, key, json={"config": {"host": None}})
    assert (refused.status, refused.json["detail"]) == (422, "config: host: Field required")
    changed = await door.call("PATCH", path, key, json={"config": {"tls": "none", "pin": None}})
    assert (changed.status, changed.json["config"]) == (200, {"host": "mx.example", "tls": "none"})


async def test_what_was_stored_before_it_was_checked_can_be_read_and_mended(door: Door, database_url: str) -> None:
    key, path, old = await door.key(), f"{V1}/providers/main", {"hots": "x", "port": "a"}
    assert await create(door, key, "smtp", {"host": "mx.example"}) == (201, "")
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE provider SET config = %s", (Jsonb(old),))
    assert (await door.get(path, key)).json["config"] == old
    changed = await door.call("PATCH", path, key, json={"limits": {"rate": 5}})
    assert (changed.status, changed.json["config"], changed.json["limits"]) == (200, old, {"rate": 5})
    assert (await door.post(f"{path}/disable", key)).status == 200
    assert (await door.call("PATCH", path, key, json={"config": {"port": 25}})).status == 422
    mended = await door.call("PATCH", path, key, json={"config": {"port": 25, "host": "mx.example", "hots": None}})
    assert (mended.status, mended.json["config"]) == (200, {"port": 25, "host": "mx.example"})


def test_every_kind_can_be_checked() -> None:
    assert tuple(CONFIGS) == KINDS
