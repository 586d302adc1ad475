"""What the tests of the whole stack ask of a graph: tokens of what one resource gets from another, and order."""

import json
from collections.abc import Mapping
from typing import Any

from infra.graph import Graph, Node

TASK = "aws:ecs/taskDefinition:TaskDefinition"
SERVICE = "aws:ecs/service:Service"
RUN = "pulumi-python:dynamic/smtp-proxy:Run"
RELEASE = "pulumi-python:dynamic/smtp-proxy:Release"


def prefix(graph: Graph) -> str:
    return f"smtp-proxy-{graph.stack}"


def token(graph: Graph, name: str, attribute: str = "id") -> str:
    """What a resource answers, named without the stack's prefix."""
    return f"${{{'-'.join(filter(None, [prefix(graph), name]))}.{attribute}}}"


def arn(graph: Graph, service: str, name: str) -> str:
    region = {"s3": ":", "iam": ":${account}"}.get(service, "${region}:${account}")
    return f"arn:aws:{service}:{region}:{token(graph, name, 'arn')}"


def target(graph: Graph, port: str, colour: str, attribute: str = "arn") -> str:
    """The token of a target group, whose name is cut to what AWS takes."""
    (found,) = [
        node.name for node in graph.of_type("aws:lb/targetGroup:TargetGroup") if node.name.endswith(f"-{port}-{colour}")
    ]
    shown = f"${{{found}.{attribute}}}"
    return f"arn:aws:lb:${{region}}:${{account}}:{shown}" if attribute == "arn" else shown


def subnets(graph: Graph, tier: str) -> list[str]:
    zones = {"dev": "ab", "prod": "abc"}[graph.stack]
    return [token(graph, f"network-{tier}-{zone}") for zone in zones]


def tasks(graph: Graph) -> list[str]:
    """The subnets that tasks run in: without NAT they need addresses of their own."""
    return subnets(graph, {"dev": "public", "prod": "private"}[graph.stack])


def container(graph: Graph, role: str) -> Mapping[str, Any]:
    (found,) = json.loads(graph.one(TASK, f"{prefix(graph)}-{role}").inputs["containerDefinitions"])
    return found


def told(graph: Graph, role: str) -> Mapping[str, str]:
    """The environment of a role's container."""
    return {one["name"]: one["value"] for one in container(graph, role)["environment"]}


def before(graph: Graph, node: Node) -> list[Node]:
    """Returns what is in place before a resource is made.

    Pulumi registers a component after what it depends on is there, and its children after it.
    """
    nodes = {one.urn: one for one in graph.nodes}
    seen: set[str] = set()
    waiting = [node.urn]
    while waiting:
        one = nodes[waiting.pop()]
        following = {urn for urn in (*one.depends_on, one.parent) if urn in nodes} - seen
        seen |= following
        waiting.extend(following)
    return [nodes[urn] for urn in sorted(seen)]
