"""What OpenAPI tells of the API beside what schemathesis checks: examples that fit, links and headers."""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator, validate
from yarl import URL

from tests.web.conftest import Chosen
from tests.web.house import Door
from web.api.contract import MAKES, success_of
from web.api.operations import ROOT

pytestmark = pytest.mark.anyio
Document = dict[str, Any]
LIMITS = {"RateLimit", "RateLimit-Limit", "RateLimit-Policy", "RateLimit-Remaining", "RateLimit-Reset"}


@pytest.fixture
async def told(door: Door) -> Document:
    contract: Document = (await door.get("/openapi.json")).json
    return contract


def operations(told: Document) -> Iterator[tuple[str, Document]]:
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def resolved(told: Document, what: Document) -> Document:
    found = what
    while "$ref" in found:
        *_, section, name = found["$ref"].split("/")
        found = told["components"][section][name]
    return found


def contents(told: Document) -> Iterator[tuple[str, str, Document]]:
    """All bodies that are taken or given, with what they are."""
    for label, operation in operations(told):
        for kind, content in operation.get("requestBody", {}).get("content", {}).items():
            yield f"{label} takes", kind, content
        for status, answer in operation["responses"].items():
            for kind, content in resolved(told, answer).get("content", {}).items():
                yield f"{label} {status}", kind, content


def examples(told: Document, content: Document) -> list[Any]:
    """Its own, and those of each model that it may be."""
    found = [content["example"]] if "example" in content else []
    for each in [content["schema"], *content["schema"].get("anyOf", [])]:
        if each != {"type": "null"}:
            found += resolved(told, each).get("examples", [None] if "$ref" in each and not found else [])
    return found


@pytest.mark.requirement("CORE-API-005")
async def test_the_contract_is_openapi_3_1_with_an_example_of_all_that_is_sent(told: Document) -> None:
    assert told["openapi"] == "3.1.0"
    validate(told, cls=OpenAPIV31SpecValidator)
    seen = 0
    for where, kind, content in contents(told):
        shown = examples(told, content)
        assert shown, f"give an example of what {where} as {kind}: see web/api/examples.py"
        for example in shown:
            seen += 1
            if kind.endswith("json"):
                schema = content["schema"] | {"components": told["components"]}
                faults = [fault.message for fault in OAS31Validator(schema).iter_errors(example)]
                assert faults == [], (where, example)
            else:
                assert isinstance(example, str), where
    assert seen > 400


@pytest.mark.requirement("CORE-API-005")
async def test_headers_are_told_where_they_are_sent(told: Document) -> None:
    wrong: dict[str, set[str]] = {}
    for label, operation in operations(told):
        takes_version = any(each["name"] == "If-Match" for each in operation.get("parameters", []))
        for status, answer in operation["responses"].items():
            headers, wanted = set(resolved(told, answer).get("headers", {})), {"X-Request-Id"}
            wanted |= {"Retry-After"} if status in {"429", "503"} else set()
            wanted |= {"WWW-Authenticate"} if status == "401" else set()
            wanted |= {"ETag"} if status == "412" else set()
            if status < "300":
                wanted |= LIMITS if operation["security"] else set()
                wanted |= {"ETag"} if takes_version and label.startswith("PATCH") else set()
                wanted |= {"Location"} if label.removeprefix("POST ") in MAKES else set()
            if wanted - headers:
                wrong[f"{label} {status}"] = wanted - headers
    assert wrong == {}
    for name, header in told["components"]["headers"].items():
        assert OAS31Validator(header["schema"]).is_valid(header["example"]), name


async def test_what_is_made_leads_to_all_that_can_be_done_with_it(told: Document) -> None:
    ids = {operation["operationId"]: label for label, operation in operations(told)}
    assert len(ids) == len(told["paths"]) + sum(len(methods) - 1 for methods in told["paths"].values())
    led: dict[str, set[str]] = {}
    for label, operation in operations(told):
        for name, link in success_of(operation)[1].get("links", {}).items():
            assert name == link["operationId"], label
            led.setdefault(label, set()).add(ids[name])
    one = re.compile(rf"[A-Z]+ {ROOT}/[a-z-]+/\{{")
    reached = set().union(*led.values())
    # A dead letter is made by nobody here, and a provider that calls is told its address by people.
    beyond = {f"DELETE {ROOT}/dead-letters/{{id}}", f"POST {ROOT}/provider-events/{{id}}"}
    assert {label for label in ids.values() if one.match(label)} - reached == beyond
    assert {label for label in led if label.startswith("POST")} == {f"POST {path}" for path in MAKES}
    changed = {label for label in led if label.startswith("GET")}
    versions = ("accounts/{name}", "providers/{name}", "providers/{name}/secret", "rules/{name}", "webhooks/{id}")
    assert changed == {f"GET {ROOT}/{each}" for each in versions}


@pytest.mark.requirement("CORE-API-001")
async def test_what_was_made_is_where_its_location_says(door: Door, chosen: Chosen) -> None:  # noqa: ARG001 - as `door`
    operator, tenant = await door.key(), await door.key("shop")
    account = {"name": "new", "allowed_domains": ["new.example"], "provider": {"kind": "sandbox"}}
    rule = {"name": "far away 2.1", "priority": 1, "action": {"type": "discard"}}
    letter = {"from": {"address": "a@shop.example"}, "to": [{"address": "b@far.example"}], "text": "x"}
    made = {
        path: await door.post(f"{ROOT}{path}", key, json=body)
        for path, key, body in (
            ("/accounts", operator, account),
            ("/providers", operator, {"name": "main", "kind": "sandbox"}),
            ("/providers?account=shop", operator, {"name": "own", "kind": "sandbox"}),
            ("/rules", tenant, rule),
            ("/rules?account=bank", operator, rule),
            ("/webhooks", tenant, {"url": "https://shop.example/events"}),
            ("/messages", tenant, letter),
            ("/credentials", tenant, {"username": "a@b"}),
            ("/keys", tenant, {"name": "more"}),
            ("/keys?account=bank", operator, {"name": "more"}),
        )
    }
    places = {path: answer.headers.get("location") for path, answer in made.items()}
    name = quote(str(rule["name"]))
    assert places == {
        "/accounts": f"{ROOT}/accounts/new",
        "/providers": f"{ROOT}/providers/main",
        "/providers?account=shop": f"{ROOT}/providers/own?account=shop",
        "/rules": f"{ROOT}/rules/{name}",
        "/rules?account=bank": f"{ROOT}/rules/{name}?account=bank",
        "/webhooks": f"{ROOT}/webhooks/{made['/webhooks'].json['id']}",
        "/messages": f"{ROOT}/messages/{made['/messages'].json['id']}",
        "/credentials": f"{ROOT}/credentials/a%40b",
        "/keys": f"{ROOT}/keys/{made['/keys'].json['prefix']}",
        "/keys?account=bank": f"{ROOT}/keys/{made['/keys?account=bank'].json['prefix']}?account=bank",
    }


@pytest.mark.requirement("CORE-API-001")
@pytest.mark.parametrize("name", ["EU and US", "simulate", "a.b_c-d", "2."])
async def test_a_rule_is_reached_whatever_its_name(door: Door, name: str) -> None:
    key = await door.key("shop")
    rule = {"name": name, "priority": 1, "action": {"type": "discard"}}
    made = await door.post(f"{ROOT}/rules", key, json=rule)
    place = URL(door.url + made.headers["location"], encoded=True)
    answers = []
    for method, body in (("GET", None), ("PATCH", {"priority": 2}), ("DELETE", None), ("GET", None)):
        async with door.http.request(method, place, json=body, headers={"Authorization": f"Bearer {key}"}) as answer:
            answers.append(answer.status)
    assert answers == [200, 200, 204, 404]


@pytest.mark.parametrize("name", [".", ".."])
async def test_what_clients_take_out_of_a_path_is_no_name_of_a_rule(door: Door, name: str) -> None:
    key = await door.key("shop")
    answer = await door.post(f"{ROOT}/rules", key, json={"name": name, "priority": 1, "action": {"type": "discard"}})
    assert (answer.status, [each["where"] for each in answer.json["errors"]]) == (422, ["body/name"])
