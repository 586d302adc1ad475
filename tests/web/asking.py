"""schemathesis asks all that a contract tells of, and checks each answer."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import schemathesis
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema

from tests.web.contract import Operation
from web.api.operations import ROOT

SEED = 20_261_124
# A request that fits its schema may be refused for what it means: an operator who names no account, a rule that routes
# to a provider that is not there, an address that is none.
MEANING = ["2xx", "401", "403", "404", "409", "412", "415", "422"]
# 413, where a list of more texts than are taken is more octets than are taken.
WRONG = ["400", "401", "403", "404", "405", "409", "412", "413", "415", "422"]
# What is in these paths a word of ours can be a name as well: there is more that can be done than the contract tells.
NAMES_AS_WELL = tuple(
    f"{ROOT}/{path}" for path in ("rules/simulate", "dead-letters/redrive", "providers/reseal", "webhooks/reseal")
)


@schemathesis.serializer("message/rfc822")
def octets(_: schemathesis.SerializationContext, value: Any) -> Any:
    """A message is sent as it is."""
    return value.encode() if isinstance(value, str) else value


# What may be asked for six times a minute, whatever the rate of the key is.
SELDOM = (f"{ROOT}/providers/{{name}}/tests",)


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


def operation(each: Operation, key: str, **settings: Any) -> dict[str, Any]:
    """How one is asked: with a key of its own, that it may spoil."""
    return {
        "include-name": each.label,
        "headers": {"Authorization": f"Bearer {key}"},
        "checks": {
            "positive_data_acceptance": {"expected-statuses": MEANING + (["429"] if each.path in SELDOM else [])},
            "negative_data_rejection": {"expected-statuses": WRONG},
            "allow_header_conformance": {"enabled": each.path not in NAMES_AS_WELL},
        },
        **settings,
    }


def configuration(url: str, each: Sequence[Mapping[str, Any]], **settings: Any) -> SchemathesisConfig:
    """All checks."""
    return SchemathesisConfig.from_dict(
        {
            "base-url": url,
            "seed": SEED,
            "continue-on-failure": True,
            "workers": 1,
            "operations": list(each),
            **settings,
        }
    )


def asked(
    contract: dict[str, Any], config: SchemathesisConfig, report: Report, hook: Callable[..., Any] | None = None
) -> None:
    """Ask, and put what comes of it in the report."""
    schema = schemathesis.openapi.from_dict(contract, config=config)
    if hook is not None:
        schema.hook(hook)
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            report.scenario(event)
        elif isinstance(event, events.NonFatalError | events.FatalError):
            report.wrong[type(event).__name__] = repr(event)
