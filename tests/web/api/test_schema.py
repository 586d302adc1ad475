"""What OpenAPI tells of the API holds: schemathesis asks everything, rightly and wrongly, and checks each answer."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.web.asking import Report, asked, configuration, operation
from tests.web.conftest import Chosen
from tests.web.contract import operations
from tests.web.house import Door, patient, serving

pytestmark = [pytest.mark.anyio, pytest.mark.long]
EXAMPLES = 3
# The edges of all fields are tried by whom an operation is for, since that is a thousand requests.
OF_OPERATORS = {"accounts", "providers", "dead letters"}


@pytest.fixture
async def door(chosen: Chosen, accounts: None) -> AsyncIterator[Door]:  # noqa: ARG001 - they are in its database
    async with serving(chosen(), patient) as serves:
        yield serves


@pytest.mark.parametrize("account", [None, "shop"], ids=["operator", "tenant"])
@pytest.mark.requirement("CORE-API-005")
async def test_every_answer_is_as_the_contract_tells(door: Door, account: str | None) -> None:
    contract = (await door.get("/openapi.json")).json
    told, report = operations(contract), Report()
    each_its_own = []
    for each in told:
        edges = (account is None) == (each.tag in OF_OPERATORS)
        phases = {"coverage": {"enabled": edges, "unexpected-methods": ["OPTIONS", "TRACE"]}}
        each_its_own.append(operation(each, await door.key(account), phases=phases))
    config = configuration(
        door.url,
        each_its_own,
        generation={"deterministic": True, "max-examples": EXAMPLES, "no-shrink": True},
        phases={"stateful": {"enabled": False}},
    )
    await asyncio.to_thread(asked, contract, config, report)
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
