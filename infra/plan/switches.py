"""What each switch of the configuration costs: the stack is built anew with it changed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from infra import graph
from infra.plan.cost.bill import bill
from infra.plan.prices import read
from infra.project import Project
from infra.reader import ConfigError

SWITCHES: Final[tuple[Mapping[str, object], ...]] = (
    {"egress": "nat-single"},
    {"egress": "nat-per-zone"},
    {"egress": "nat-regional"},
    {"egress": "public-ip"},
    {"interfaceEndpoints": ["sqs"]},
    {"interfaceEndpoints": ["sqs", "logs", "email"]},
    {"databaseReplica": True},
    {"databaseMultiZone": False},
    {"cacheMode": "serverless"},
    {"cacheMode": "cluster"},
    {"architecture": "x86_64"},
    {"spotWorkers": True},
    {"containerInsights": True},
    {"containerInsights": False},
    {"flowLogs": False},
    {"customerKey": True},
    {"waf": True},
)


@dataclass(frozen=True)
class Changed(Project):
    """A project whose stacks have some other values."""

    changes: Mapping[str, object] = field(default_factory=dict[str, object])

    def configuration(self, stack: str) -> dict[str, str]:
        """Returns the stack's values with the changes."""
        found = super().configuration(stack)
        name = self.name
        for key, value in self.changes.items():
            found[f"{name}:{key}"] = value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))
        return found


def switches(
    stack: str,
    project: Project,
    baseline: float,
    full: float,
    chosen: Sequence[Mapping[str, object]] = SWITCHES,
) -> Iterator[str]:
    """Yields what each switch that the stack has otherwise adds to its cost.

    Args:
        stack: whose configuration is changed.
        project: where its program is.
        baseline: what it costs as it is, dollars a month.
        full: the same at full scale.
        chosen: the switches.
    """
    configuration = project.configuration(stack)
    yield "switches (what each adds to the cost of a month, at baseline and at full scale)"
    for changes in chosen:
        changed = Changed(project.root, changes)
        if changed.configuration(stack) == configuration:
            continue
        shown = ", ".join(
            f"{key} {json.dumps(value) if not isinstance(value, str) else value}" for key, value in changes.items()
        )
        try:
            found = bill(graph.build(stack, changed), read())
        except ConfigError as refused:
            yield f"  {shown:<44}refused: {_reason(refused)}"
            continue
        yield f"  {shown:<44}{found.baseline - baseline:>+10.2f}{found.full - full:>+12.2f}"


def _reason(refused: ConfigError) -> str:
    first = str(refused).partition("- ")[2].partition("\n")[0]
    return first.partition(";")[0].partition(". Run: ")[0]
