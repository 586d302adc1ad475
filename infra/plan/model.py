"""The plan of a stack as one value, and as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from infra.graph import Graph
from infra.plan.alarms import Alarm, alarms
from infra.plan.cost.bill import Bill, bill, further_million
from infra.plan.flows import Flow, flows
from infra.plan.permissions import ROLE, Permission, permissions, trusted
from infra.plan.prices import Prices, read
from infra.policy.model import Finding
from infra.policy.run import Accepted, report


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that can be said about a stack before AWS is asked."""

    project: str
    graph: Graph
    region: str
    prices: Prices
    bill: Bill
    further_million: float
    permissions: tuple[Permission, ...]
    trusted: Mapping[str, tuple[str, ...]]
    flows: tuple[Flow, ...]
    alarms: tuple[Alarm, ...]
    findings: tuple[Finding, ...]
    accepted: tuple[Accepted, ...]


def plan(project: str, graph: Graph) -> Plan:
    """Says everything about a graph."""
    prices = read()
    providers = graph.of_type("pulumi:providers:aws")
    found = report(graph)
    return Plan(
        project=project,
        graph=graph,
        region=next((str(node.inputs.get("region")) for node in providers), prices.region),
        prices=prices,
        bill=bill(graph, prices),
        further_million=further_million(graph, prices),
        permissions=permissions(graph),
        trusted={role.name: trusted(role) for role in graph.of_type(ROLE)},
        flows=flows(graph),
        alarms=alarms(graph),
        findings=found.findings,
        accepted=found.accepted,
    )


def as_json(found: Plan) -> str:
    """Writes a plan for programs, and for `--against`."""
    graph = found.graph
    whole = {
        "project": found.project,
        "stack": graph.stack,
        "region": found.region,
        "counts": {"components": len(graph.components), "resources": len(graph.resources)},
        "nodes": [asdict(node) for node in graph.nodes],
        "exports": graph.exports,
        "cost": {
            "currency": "USD",
            "prices": {"region": found.prices.region, "date": found.prices.date},
            "baseline": found.bill.baseline,
            "full": found.bill.full,
            "further_million_mails": found.further_million,
            "lines": [asdict(line) for line in found.bill.lines],
            "unpriced": found.bill.unpriced,
        },
        "permissions": [asdict(permission) for permission in found.permissions],
        "trusted": found.trusted,
        "flows": [asdict(flow) for flow in found.flows],
        "alarms": [asdict(alarm) for alarm in found.alarms],
        "findings": [asdict(finding) for finding in found.findings],
        "accepted": [asdict(one) for one in found.accepted],
    }
    return json.dumps(whole, indent=2, sort_keys=True) + "\n"
