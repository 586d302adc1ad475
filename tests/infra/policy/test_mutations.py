"""The real stack of production, weakened in every way that is known: a policy notices, or it is listed here why not."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from infra.graph import Graph, Node
from infra.policy import kinds
from infra.policy.rules import ALL
from infra.policy.run import findings, seen
from tests.infra import reachability
from tests.infra.policy import mutations
from tests.infra.policy.mutations import Change, Mutation, lacks

RULES = {rule.name: rule for rule in ALL}
# Production has a key of its own for its queues, where the sample has that of SQS.
WAYS = [*mutations.ALL, Mutation("queue-encrypted", kinds.QUEUE, "", lacks("kmsMasterKeyId"))]

QUEUES = ("app-default", "app-orders", "app-support", "delivery", "events", "inbound", "outbound")
# What a rule has nothing to say of, though it is of the same kind.
FINE: Mapping[str, set[tuple[str, str]]] = {
    # Sessions begin in the clear or bring TLS of their own: the relay answers for both.
    "listener-tls": {(kinds.LISTENER, "smtp-465"), (kinds.LISTENER, "smtp-587")},
    "listener-tls-policy": {(kinds.LISTENER, name) for name in ("smtp-465", "smtp-587", "web-80")},
    # It sees no headers, and logs only what it decrypts.
    "balancer-drops-malformed": {(kinds.LOAD_BALANCER, "smtp")},
    "balancer-access-logs": {(kinds.LOAD_BALANCER, "smtp")},
    "queue-dead-letters": {(kinds.QUEUE, f"{queue}-dead") for queue in QUEUES},
    "dead-letters-stay": {(kinds.QUEUE, queue) for queue in QUEUES},
    # They run once; and no load balancer asks the worker.
    "service-health": {*((kinds.TASK, role) for role in ("operator", "prepare", "renewer")), (kinds.SERVICE, "worker")},
    # CodeDeploy takes them back; deployment-rolls-back is of that.
    "service-rolls-back": {(kinds.SERVICE, "api"), (kinds.SERVICE, "console")},
}


def weakened(graph: Graph, node: Node, change: Change) -> Graph:
    changed = change(node)
    nodes = [changed if one is node else one for one in graph.nodes]
    return replace(graph, nodes=tuple(one for one in nodes if one is not None))


def fires(rule: str, graph: Graph) -> bool:
    world = seen(graph)
    return any(True for resource in world.resources for _ in RULES[rule].findings(resource, world))


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("rule", sorted({way.rule for way in WAYS}))
def test_the_real_stack_cannot_be_weakened_unnoticed(prod: Graph, rule: str) -> None:
    ways = [way for way in WAYS if way.rule == rule]
    nodes = [node for kind in {way.kind for way in ways} for node in prod.of_type(kind)]
    assert nodes
    unnoticed = {
        (node.type, node.name.removeprefix("smtp-proxy-prod-"))
        for node in nodes
        if not any(fires(rule, weakened(prod, node, way.change)) for way in ways if way.kind == node.type)
    }
    assert unnoticed == FINE.get(rule, set())


# Flags of kinds that policies know, which no policy looks at. Those that matter are compared by value elsewhere.
KEPT_BY_VALUE = {
    "Instance deleteAutomatedBackups": "test_database",
    "Instance performanceInsightsEnabled": "test_database",
    "Listener routingHttpResponseServerEnabled": "test_alb",
    "LoadBalancer enableCrossZoneLoadBalancing": "layers/test_edges",
    "ReplicationGroup autoMinorVersionUpgrade": "test_cache",
    "SecretPolicy blockPublicPolicy": "test_secrets",
    "Service networkConfiguration.assignPublicIp": "layers/test_fleet",
    "Service sigintRollback": "layers/test_fleet",
    "Table serverSideEncryption.enabled": "layers/test_stores",
    "Table ttl.enabled": "layers/test_stores",
    "TargetGroup connectionTermination": "layers/test_edges",
    "TargetGroup proxyProtocolV2": "test_nlb",
    "TargetGroup targetHealthStates.enableUnhealthyConnectionTermination": "test_nlb",
    "ConfigurationSet reputationOptions.reputationMetricsEnabled": "test_mail",
    "ConfigurationSet sendingOptions.sendingEnabled": "test_mail",
}
NO_MATTER_OF_SECURITY = {
    "BucketServerSideEncryptionConfiguration rules.bucketKeyEnabled",  # without a key of the stack it does nothing
    "Instance applyImmediately",
    "Instance copyTagsToSnapshot",
    "ReplicationGroup applyImmediately",
    "Service enableEcsManagedTags",
    "Service waitForSteadyState",
    "TaskDefinition skipDestroy",
    "Vpc enableDnsHostnames",
    "Vpc enableDnsSupport",
}
KNOWN = {kind for kind in vars(kinds).values() if isinstance(kind, str) and kind.startswith("aws:")}
Path = tuple[str | int, ...]


@pytest.mark.requirement("QG-5")
def test_every_flag_is_looked_at_or_known_to_be_none_of_security(prod: Graph) -> None:
    before = reachability.table(prod, {"operator": "relay"})
    unnoticed: set[str] = set()
    flipped = 0
    # The flags of alarms say which figure of several is the alarm's.
    for node in (one for one in prod.resources if one.type in KNOWN - {kinds.ACTION_ALARM}):
        for path, value in flags(node.inputs):
            flipped += 1
            inputs = cast("Mapping[str, Any]", put(node.inputs, path, not value))
            weak = weakened(prod, node, lambda one, inputs=inputs: replace(one, inputs=inputs))
            if not findings(weak) and reachability.table(weak, {"operator": "relay"}) == before:
                keys = ".".join(part for part in path if isinstance(part, str))
                unnoticed.add(f"{node.type.rpartition(':')[2]} {keys}")
    assert flipped > 100
    assert sorted(unnoticed) == sorted({*KEPT_BY_VALUE, *NO_MATTER_OF_SECURITY})


def flags(value: object, path: Path = ()) -> Iterator[tuple[Path, bool]]:
    if isinstance(value, bool):
        yield path, value
    elif isinstance(value, dict):
        for key, item in cast("dict[str, object]", value).items():
            yield from flags(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[object]", value)):
            yield from flags(item, (*path, number))


def put(value: object, path: Path, new: object) -> object:
    if not path:
        return new
    first, *rest = path
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [put(item, tuple(rest), new) if number == first else item for number, item in enumerate(items)]
    items = cast("dict[str | int, object]", value)
    return {key: put(item, tuple(rest), new) if key == first else item for key, item in items.items()}
