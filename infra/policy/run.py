"""Runs every rule on a recorded graph."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from infra.graph import Graph, Node
from infra.policy.acceptance import ACCEPTED, Acceptance, acceptance
from infra.policy.model import Finding, Resource, World
from infra.policy.rules import ALL


@dataclass(frozen=True, kw_only=True)
class Accepted:
    """A finding, and why it stands."""

    finding: Finding
    reason: str


_GRAVE: Final = ("high", "medium", "low")


@dataclass(frozen=True, kw_only=True)
class Report:
    """What breaks a rule: what has to be changed, and what is meant."""

    findings: tuple[Finding, ...]
    accepted: tuple[Accepted, ...]


def report(graph: Graph, acceptances: Sequence[Acceptance] = ACCEPTED) -> Report:
    """Runs every rule on every resource, the gravest findings first."""
    found = [(finding, acceptance(finding, acceptances)) for finding in _all(graph)]
    return Report(
        findings=tuple(finding for finding, meant in found if meant is None),
        accepted=tuple(Accepted(finding=finding, reason=meant.reason) for finding, meant in found if meant),
    )


def findings(graph: Graph) -> tuple[Finding, ...]:
    """Returns what breaks a rule and is not accepted."""
    return report(graph).findings


def seen(graph: Graph) -> World:
    """Returns a graph as the rules see it."""
    return World(graph.stack, tuple(_resource(node) for node in graph.nodes if not node.is_component))


def _resource(node: Node) -> Resource:
    return Resource(
        type=node.type,
        name=node.name,
        urn=node.urn,
        protect=node.protect,
        props=node.inputs,
        references={key: frozenset(urns) for key, urns in node.references.items()},
    )


def _all(graph: Graph) -> list[Finding]:
    world = seen(graph)
    found = [finding for resource in world.resources for rule in ALL for finding in rule.findings(resource, world)]
    return sorted(found, key=lambda finding: (_GRAVE.index(finding.severity), finding.rule, finding.urn))
