"""What is made can be shown, changed, tried and deleted, and is gone then: schemathesis goes where the links lead."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from schemathesis.hooks import HookContext

from tests.web.asking import SEED, Report, asked, configuration, operation
from tests.web.conftest import Chosen
from tests.web.contract import Operation, operations
from tests.web.house import Door, patient, serving
from web.api.operations import ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.long]
# Hypothesis goes on with what it has begun: many books with few stories tell more than one with many.
BOOKS, STORIES, STEPS = 6, 10, 8
PHASES = {
    **{phase: {"enabled": False} for phase in ("examples", "coverage", "fuzzing")},
    "stateful": {
        "enabled": True,
        "max-steps": STEPS,
        "generation": {"max-examples": STORIES, "mode": "positive"},
        # By the links of the contract alone: another way may lead to the key of another operation.
        "inference": {"algorithms": []},
        "link-calibration": False,
    },
}
# An operator's key is of no account.
NOT_FOR_OPERATORS = f"POST {ROOT}/accounts/{{name}}/rotate-key"
# What is made has to mean something, which no schema can say.
MEANT: Mapping[str, Mapping[str, Any]] = {
    "POST /accounts": {"allowed_domains": ["new.example"], "provider": {"kind": "sandbox"}},
    "POST /messages": {
        "from": {"address": "a@shop.example"},
        "to": [{"address": "b@far.example"}],
        "cc": [],
        "bcc": [],
        "reply_to": None,
        "subject": "x",
        "text": "x",
        "html": None,
        "headers": {},
        "attachments": [],
    },
    "POST /providers": {"kind": "sandbox", "config": {}, "limits": {}},
    "PATCH /providers/{name}": {"config": {}, "limits": {"rate": 3}},
    "POST /rules": {"match": {}, "action": {"type": "discard"}},
    "PATCH /rules/{name}": {"match": {}, "action": {"type": "discard"}},
    "POST /webhooks": {"url": "https://shop.example/events", "types": []},
}


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(), patient) as serves:
        yield serves


def map_body(context: HookContext, body: Any) -> Any:
    """Let a body mean something; its name is how schemathesis knows it."""
    label = context.operation.label.replace(ROOT, "") if context.operation else ""
    return {**body, **MEANT[label]} if label in MEANT and isinstance(body, dict) else body


@pytest.mark.parametrize("account", [None, "shop"], ids=["operator", "tenant"])
@pytest.mark.requirement("CORE-API-005")
async def test_what_is_made_is_there_until_it_is_deleted(door: Door, account: str | None) -> None:
    contract = (await door.get("/openapi.json")).json
    told, report = operations(contract), Report()
    may = {each for each in told if (each.label != NOT_FOR_OPERATORS if account is None else not each.for_operators)}
    each_its_own = [operation(each, await door.key(account), enabled=each in may) for each in told]
    for book in range(BOOKS):
        config = configuration(
            door.url,
            each_its_own,
            seed=SEED + book,
            generation={"no-shrink": True},
            phases=PHASES,
            parameters={"account": "shop"} if account is None else {},
        )
        await asyncio.to_thread(asked, contract, config, report, map_body)
    assert report.wrong == {}
    done = {label for label, statuses in report.answers.items() if {200, 201, 202, 204} & set(statuses)}
    led = {each.label for each in may} & targets(contract, told)
    # Which stories are told is drawn, and few of them tell of some operations.
    assert len(done & led) >= len(led) // 2, sorted(led - done)
    assert {f"GET {ROOT}/webhooks/{{id}}", f"DELETE {ROOT}/webhooks/{{id}}"} <= done


def targets(contract: dict[str, Any], told: list[Operation]) -> set[str]:
    """All that a link leads to."""
    facts = {each.label: contract["paths"][each.path][each.method.lower()] for each in told}
    answers = [answer for fact in facts.values() for answer in fact["responses"].values()]
    ids = {link["operationId"] for answer in answers for link in answer.get("links", {}).values()}
    return {label for label, fact in facts.items() if fact["operationId"] in ids}
