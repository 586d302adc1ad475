"""What holds for every node of every stack. Each check returns the offenders."""

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

from infra.graph import Graph, Node
from infra.names import (
    BALANCER_LIMIT,
    BUCKET_LIMIT,
    CACHE_LIMIT,
    EVENT_RULE_LIMIT,
    PULUMI_SUFFIX,
    QUEUE_LIMIT,
    REPOSITORY_LIMIT,
    ROLE_LIMIT,
    SCHEDULE_LIMIT,
)
from infra.policy.run import findings
from tests.infra import aws_shapes, pulumi_shapes

Check = Callable[[Graph], list[str]]

_LIMITS = {
    "aws:cloudwatch/eventRule:EventRule": EVENT_RULE_LIMIT,
    "aws:ecr/repository:Repository": REPOSITORY_LIMIT,
    "aws:elasticache/replicationGroup:ReplicationGroup": CACHE_LIMIT,
    "aws:elasticache/serverlessCache:ServerlessCache": CACHE_LIMIT,
    "aws:iam/role:Role": ROLE_LIMIT,
    "aws:lb/loadBalancer:LoadBalancer": BALANCER_LIMIT,
    "aws:lb/targetGroup:TargetGroup": BALANCER_LIMIT,
    "aws:s3/bucket:Bucket": BUCKET_LIMIT,
    "aws:scheduler/schedule:Schedule": SCHEDULE_LIMIT,
    "aws:sqs/queue:Queue": QUEUE_LIMIT,
}
_STATEFUL = {
    "aws:dynamodb/table:Table",
    "aws:kms/key:Key",
    "aws:rds/instance:Instance",
    "aws:route53/zone:Zone",
    "aws:s3/bucket:Bucket",
    "aws:secretsmanager/secret:Secret",
    "aws:sqs/queue:Queue",
}


def duplicates(graph: Graph) -> list[str]:
    return [urn for urn, times in Counter(node.urn for node in graph.nodes).items() if times > 1]


def twins(graph: Graph) -> list[str]:
    """What has another's type and name: Pulumi tells them apart by their parents, people and plans do not."""
    return [
        f"{kind} {name}"
        for (kind, name), times in Counter((n.type, n.name) for n in graph.resources).items()
        if times > 1
    ]


def orphans(graph: Graph) -> list[str]:
    components = {node.urn for node in graph.components}
    return [node.urn for node in graph.resources if node.parent not in components]


def strays(graph: Graph) -> list[str]:
    (provider,) = graph.of_type("pulumi:providers:aws")
    return [node.urn for node in graph.resources if node.provider.rpartition("::")[0] != provider.urn]


def misspelt(graph: Graph) -> list[str]:
    return [problem for node in graph.resources for problem in pulumi_shapes.problems(node)]


def refused_by_aws(graph: Graph) -> list[str]:
    return [problem for node in graph.resources for problem in aws_shapes.problems(node)]


def ignoring_nothing(graph: Graph) -> list[str]:
    return [
        f"{node.urn} {path}"
        for node in graph.resources
        for path in node.ignore_changes
        if path.partition("[")[0].partition(".")[0] not in pulumi_shapes.properties(node.type)
    ]


def outputs_as_text(graph: Graph) -> list[str]:
    return [node.urn for node in graph.nodes for text in _texts(node.inputs) if "Calling __str__" in text]


def too_long(graph: Graph) -> list[str]:
    return [
        node.name
        for node in graph.resources
        if len(node.name) + PULUMI_SUFFIX > _LIMITS.get(node.type, len(node.name) + PULUMI_SUFFIX)
    ]


def deprecated(graph: Graph) -> list[str]:
    return [node.urn for node in graph.resources if node.type.startswith("aws:s3/") and node.type.endswith("V2")]


def unprotected(graph: Graph) -> list[Node]:
    return [node for node in graph.resources if node.type in _STATEFUL and not node.protect]


def weak(graph: Graph) -> list[str]:
    """What the policies find in a component by itself; its provider and its protection come from the stack."""
    return [
        f"{finding.rule} {finding.urn} {finding.message}"
        for finding in findings(graph)
        if finding.rule not in {"protected", "provider-tags"}
    ]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _texts(list(cast("dict[str, Any]", value).values()))
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _texts(item)


ALL = [
    duplicates,
    twins,
    orphans,
    strays,
    misspelt,
    refused_by_aws,
    ignoring_nothing,
    outputs_as_text,
    too_long,
    deprecated,
]
