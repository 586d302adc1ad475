"""What OpenAPI tells of the API holds: schemathesis asks everything, rightly and wrongly, and checks each answer."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.web.conftest import Chosen
from tests.web.contract import Operation, operations
from tests.web.house import Door, patient, serving
from web.api.operations import ROOT

pytestmark = [pytest.mark.anyio, pytest.mark.long]
SEED = 20_261_124
EXAMPLES = 3
# A request that fits its schema may be refused for what it means: an operator who names no account, a rule that routes
# to a provider that is not there, an address that is none.
MEANING = ["2xx", "401", "403", "404", "409", "412", "415", "422"]
# 413, where a list of more texts than are taken is more octets than are taken.
WRONG = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422"]
# What is in these paths a word of ours can be a name as well: there is more that can be done than the contract tells.
NAMES_AS_WELL = (f"{ROOT}/rules/simulate", f"{ROOT}/dead-letters/redrive")
# The edges of all fields are tried by whom an operation is for, since that is a thousand requests.
OF_OPERATORS = {"accounts", "providers", "dead letters"}


@dataclass
class Report:
    """What came of it: answers by operation and status, how much was checked, and what was wrong."""

    answers: dict[str, Counter[int]] = field(default_factory=dict)
    checks: int = 0
    wrong: dict[str, str] = field(default_factory=dict)

    def scenario(self, event: events.ScenarioFinished) -> None:
        for name, checks in event.recorder.checks.items():
            label = event.recorder.cases[name].value.operation.label
            exchange = event.recorder.interactions.get(name)
            if exchange is not None and exchange.response is not None:
                self.answers.setdefault(label, Counter())[exchange.response.status_code] += 1
            self.checks += len(checks)
            for check in checks:
                if check.failure_info is not None:
                    failure, sample = check.failure_info.failure, check.failure_info.code_sample
                    self.wrong[f"{label}: {check.name}: {failure.title}"] = f"{failure.message}\n{sample}"[:3000]


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(), patient) as serves:
        yield serves


def configuration(url: str, keys: Mapping[Operation, str], *, operator: bool) -> SchemathesisConfig:
    """All checks but those of what an operation does to another; each operation with a key that it may spoil."""
    each_its_own = [
        {
            "include-name": each.label,
            "headers": {"Authorization": f"Bearer {key}"},
            "checks": {
                "positive_data_acceptance": {"expected-statuses": MEANING},
                "negative_data_rejection": {"expected-statuses": WRONG},
                "allow_header_conformance": {"enabled": each.path not in NAMES_AS_WELL},
            },
            "phases": {
                "coverage": {
                    "enabled": operator == (each.tag in OF_OPERATORS),
                    "unexpected-methods": ["OPTIONS", "TRACE"],
                },
            },
        }
        for each, key in keys.items()
    ]
    return SchemathesisConfig.from_dict(
        {
            "base-url": url,
            "seed": SEED,
            "continue-on-failure": True,
            "workers": 1,
            "generation": {"deterministic": True, "max-examples": EXAMPLES, "no-shrink": True},
            "phases": {"stateful": {"enabled": False}},
            "operations": each_its_own,
        }
    )


def asked(contract: dict[str, Any], config: SchemathesisConfig) -> Report:
    report = Report()
    for event in from_schema(schemathesis.openapi.from_dict(contract, config=config)).execute():
        if isinstance(event, events.ScenarioFinished):
            report.scenario(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            report.wrong[type(event).__name__] = repr(event)
    return report


@pytest.mark.parametrize("account", [None, "shop"], ids=["operator", "tenant"])
@pytest.mark.requirement("CORE-API-005")
async def test_every_answer_is_as_the_contract_tells(door: Door, account: str | None) -> None:
    contract = (await door.get("/openapi.json")).json
    told = operations(contract)
    keys = {each: await door.key(account) for each in told}
    config = configuration(door.url, keys, operator=account is None)
    report = await asyncio.to_thread(asked, contract, config)
    assert report.wrong == {}
    assert sorted(report.answers) == sorted(each.label for each in told)
    for each in told:
        statuses = set(report.answers[each.label])
        if account is not None and each.for_operators:
            assert 403 in statuses, each
            assert not {200, 201, 202, 204} & statuses, each
        elif each.scope is not None:
            # A key that is refused all the time shows nothing.
            assert statuses - {401, 403, 405, 413}, each
    assert report.checks > 100 * len(told)
