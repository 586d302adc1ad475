"""A plan as text: a head, then sections that can be chosen."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from infra.plan.model import Plan
from infra.plan.money import cost, cost_details
from infra.plan.tree import tree

_WIDTH: Final = 110
# Expressions of several metrics are longer; --json has all of them.
_CONDITION: Final = 90


def head(plan: Plan) -> str:
    """Returns the first line: what the stack is made of, what it costs, what is wrong with it."""
    graph, bill = plan.graph, plan.bill
    return (
        f"{plan.project} {graph.stack}: {len(graph.components)} components, {len(graph.resources)} resources, "
        f"${bill.baseline:,.0f} a month (${bill.full:,.0f} at full scale), {len(plan.findings)} findings"
    )


def permissions(plan: Plan) -> Iterator[str]:
    """Yields each role with what it may do on what."""
    yield "permissions (role, who takes it; what it may do, on what)"
    for role, services in sorted(plan.trusted.items()):
        yield f"  {role}  ({', '.join(services)})"
        for permission in plan.permissions:
            if permission.role != role:
                continue
            refused = "" if permission.effect == "Allow" else "not "
            yield from _wrapped(f"    {refused}{', '.join(permission.actions)}", ", ")
            yield from _wrapped(f"      on {', '.join(permission.resources)}", ", ")
            if permission.conditions:
                yield f"      if {permission.conditions}"


def flows(plan: Plan) -> Iterator[str]:
    """Yields the table of open flows."""
    yield "network flows (from, to, ports, what for)"
    rows = [
        (flow.source, flow.target, flow.ports, f"{flow.description}{f' [closed: {flow.note}]' if flow.note else ''}")
        for flow in plan.flows
    ]
    yield from table(rows)


def alarms(plan: Plan) -> Iterator[str]:
    """Yields each alarm with its condition."""
    yield "alarms (name, when, what it means; what to do is in docs/reference/alarms.md)"
    yield from table([(alarm.name, _short(alarm.when), _meaning(alarm.description)) for alarm in plan.alarms])


def findings(plan: Plan) -> Iterator[str]:
    """Yields what the policies found, and what was accepted with its reason."""
    yield f"policy findings: {len(plan.findings)}"
    for finding in plan.findings:
        yield f"  {finding.severity} {finding.rule}: {finding.name}: {finding.message}"
        yield f"    {finding.remedy}"
    for one in plan.accepted:
        yield f"  accepted {one.finding.rule}: {one.finding.name}: {one.reason}"


def exports(plan: Plan) -> Iterator[str]:
    """Yields what the stack tells when it is built."""
    yield "exports (${name.attribute} is known once AWS has made it)"
    for name, value in sorted(plan.graph.exports.items()):
        yield f"  {name:<32}{value if isinstance(value, str) else json.dumps(value)}"


def table(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    """Yields rows with aligned columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield ("  " + "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True))).rstrip()


SECTIONS: Final[Mapping[str, Callable[[Plan], Iterator[str]]]] = {
    "tree": lambda plan: tree(plan.graph),
    "cost": cost,
    "permissions": permissions,
    "flows": flows,
    "alarms": alarms,
    "findings": findings,
    "exports": exports,
}
SUMMARY: Final = ("cost", "findings")
# What a section says when it is asked for by itself.
ALONE: Final[Mapping[str, Callable[[Plan], Iterator[str]]]] = {"cost": cost_details}


def as_text(plan: Plan, chosen: Sequence[str]) -> str:
    """Writes the head and the chosen sections; sections are parted by an empty line, and have none in them."""
    sections = {**SECTIONS, **ALONE} if len(chosen) == 1 else SECTIONS
    return "\n\n".join([head(plan), *("\n".join(sections[name](plan)) for name in chosen)]) + "\n"


def _meaning(description: str) -> str:
    # The way to its runbook is for whoever gets the alarm.
    return description.partition(" Runbook: ")[0]


def _short(text: str) -> str:
    return text if len(text) <= _CONDITION else f"{text[: _CONDITION - 3]}..."


def _wrapped(text: str, separator: str) -> Iterator[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    line = ""
    for part in text.split(separator):
        longer = f"{line}{separator}{part}" if line else part
        if line and len(longer) > _WIDTH:
            yield line + separator.rstrip()
            longer = f"{indent}  {part}"
        line = longer
    yield line
