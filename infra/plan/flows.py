"""Who may open a connection to whom, read off the rules of the security groups."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.graph import Graph, Node

GROUP: Final = "aws:ec2/securityGroup:SecurityGroup"
INGRESS: Final = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS: Final = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"

BOTH: Final = ""
"""The note of a flow whose both ends are open, or whose other end is no group of the stack."""


@dataclass(frozen=True, kw_only=True, order=True)
class Flow:
    """From a group or network to another; `note` says which end is closed, so that nothing flows."""

    source: str
    target: str
    ports: str
    description: str
    note: str


@dataclass(frozen=True)
class _End:
    source: str
    target: str
    ports: str


def flows(graph: Graph) -> tuple[Flow, ...]:
    """Returns every flow; one between two groups of the stack needs a rule at both."""
    names = {node.urn: node.name for node in graph.of_type(GROUP)}
    inward = {_inward(node, names): _described(node) for node in graph.of_type(INGRESS)}
    outward = {_outward(node, names): _described(node) for node in graph.of_type(EGRESS)}
    found = _joined(inward, outward, set(names.values()))
    return tuple(sorted(found))


def _joined(inward: Mapping[_End, str], outward: Mapping[_End, str], groups: set[str]) -> Iterator[Flow]:
    for end in {**inward, **outward}:
        inside = end.source in groups and end.target in groups
        notes = [
            text
            for text, missing in (
                ("the source may not leave", end not in outward),
                ("the target does not let in", end not in inward),
            )
            if inside and missing
        ]
        description = inward.get(end) or outward.get(end, "")
        yield Flow(
            source=end.source,
            target=end.target,
            ports=end.ports,
            description=description,
            note=", ".join(notes) or BOTH,
        )


def _inward(node: Node, names: Mapping[str, str]) -> _End:
    return _End(_peer(node, names), _own(node, names), ports(node.inputs))


def _outward(node: Node, names: Mapping[str, str]) -> _End:
    return _End(_own(node, names), _peer(node, names), ports(node.inputs))


def _own(node: Node, names: Mapping[str, str]) -> str:
    return _named(node, "securityGroupId", names) or str(node.inputs["securityGroupId"])


def _peer(node: Node, names: Mapping[str, str]) -> str:
    group = _named(node, "referencedSecurityGroupId", names)
    keys = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")
    return group or next((str(node.inputs[key]) for key in keys if node.inputs.get(key)), "nobody")


def _named(node: Node, key: str, names: Mapping[str, str]) -> str | None:
    return next((names[urn] for urn in node.references.get(key, ()) if urn in names), None)


def ports(inputs: Mapping[str, Any]) -> str:
    """Writes a rule's protocol and ports as in tcp 587; -1 is AWS's word for all."""
    protocol = str(inputs["ipProtocol"])
    if protocol == "-1":
        return "everything"
    first, last = inputs.get("fromPort"), inputs.get("toPort")
    if first is None or first == -1:
        return f"{protocol} all"
    return f"{protocol} {first:g}" if first == last else f"{protocol} {first:g}-{last:g}"


def _described(node: Node) -> str:
    return str(node.inputs.get("description", ""))
