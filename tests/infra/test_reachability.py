from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from infra import graph
from infra.graph import Graph, Node
from tests.infra import reachability
from tests.infra.reachability import Row
from tests.infra.samples import WHOLE, project

# Tasks that are run by hand are no resources of AWS; they run where the services do.
BY_HAND = {"operator": "relay"}

# The real stacks as they are, and what their files may choose, as few of them as show every choice.
VARIANTS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "dev": ("dev", {}),
    "prod": ("prod", {}),
    "per-zone": ("prod", {"egress": "nat-per-zone", "interfaceEndpoints": ["sqs"]}),
    "regional": (
        "prod",
        {"egress": "nat-regional", "smtpNetworks": ["192.0.2.0/24"], "webNetworks": ["198.51.100.0/24"]},
    ),
}


class Stacks(dict[str, Graph]):
    """Builds a variant when it is asked for, since a whole stack takes seconds."""

    def __init__(self, folder: Path, built: Callable[[str], Graph]) -> None:
        super().__init__()
        self._folder = folder
        self._built = built

    def __missing__(self, name: str) -> Graph:
        stack, changes = VARIANTS[name]
        chosen = project(self._folder / name, changes, program=WHOLE)
        self[name] = graph.build(stack, chosen) if changes else self._built(stack)
        return self[name]


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory, built: Callable[[str], Graph]) -> Stacks:
    return Stacks(tmp_path_factory.mktemp("stacks"), built)


INSIDE: list[Row] = [
    ("api", "cache", "6379"),
    ("api", "database", "5432"),
    ("console", "cache", "6379"),
    ("console", "database", "5432"),
    ("operator", "cache", "6379"),
    ("operator", "database", "5432"),
    ("relay", "cache", "6379"),
    ("relay", "database", "5432"),
    ("smtp-balancer", "relay", "2465"),
    ("smtp-balancer", "relay", "2587"),
    ("smtp-balancer", "relay", "8081"),
    ("web-balancer", "api", "8080"),
    ("web-balancer", "console", "8080"),
    ("worker", "cache", "6379"),
    ("worker", "database", "5432"),
]
READERS: list[Row] = [
    ("api", "cache", "6380"),
    ("console", "cache", "6380"),
    ("operator", "cache", "6380"),
    ("relay", "cache", "6380"),
    ("worker", "cache", "6380"),
]
TEST_LISTENER: list[Row] = [("10.40.0.0/16", "web-balancer", "8443")]
IN: list[Row] = [
    ("internet", "smtp-balancer", "465"),
    ("internet", "smtp-balancer", "587"),
    ("internet", "web-balancer", "443"),
    ("internet", "web-balancer", "80"),
]
OUT: list[Row] = [
    ("api", "internet", "443"),
    ("console", "internet", "443"),
    ("operator", "internet", "443"),
    ("relay", "internet", "443"),
    ("renewer", "internet", "443"),
    ("worker", "internet", "2465"),
    ("worker", "internet", "2525"),
    ("worker", "internet", "2587"),
    ("worker", "internet", "443"),
    ("worker", "internet", "465"),
    ("worker", "internet", "587"),
]
# What the stack opens to the internet is open to its own tasks as well, where they may go to the internet.
AROUND: list[Row] = [
    ("api", "web-balancer", "443"),
    ("console", "web-balancer", "443"),
    ("operator", "web-balancer", "443"),
    ("relay", "web-balancer", "443"),
    ("renewer", "web-balancer", "443"),
    ("worker", "smtp-balancer", "465"),
    ("worker", "smtp-balancer", "587"),
    ("worker", "web-balancer", "443"),
]
ENDPOINTS: list[Row] = [
    ("api", "endpoints", "443"),
    ("console", "endpoints", "443"),
    ("operator", "endpoints", "443"),
    ("relay", "endpoints", "443"),
    ("renewer", "endpoints", "443"),
    ("worker", "endpoints", "443"),
]
CHOSEN: list[Row] = [
    ("192.0.2.0/24", "smtp-balancer", "465"),
    ("192.0.2.0/24", "smtp-balancer", "587"),
    ("198.51.100.0/24", "web-balancer", "443"),
    ("198.51.100.0/24", "web-balancer", "80"),
]
TO_ANYONE = [*INSIDE, *TEST_LISTENER, *IN, *OUT, *AROUND]


@pytest.mark.requirement("SC-7.3")
@pytest.mark.parametrize(
    ("variant", "rows"),
    [
        ("dev", [*TO_ANYONE, *READERS]),
        ("prod", TO_ANYONE),
        ("per-zone", [*TO_ANYONE, *ENDPOINTS]),
        ("regional", [*INSIDE, *TEST_LISTENER, *CHOSEN, *OUT]),
    ],
)
def test_who_may_open_which_port_to_whom(stacks: Stacks, variant: str, rows: list[Row]) -> None:
    assert reachability.table(stacks[variant], BY_HAND) == sorted(rows)


@pytest.mark.requirement("SC-7.3")
@pytest.mark.parametrize(
    ("variant", "rows"),
    [
        ("dev", [*TEST_LISTENER, *IN, *OUT]),
        ("prod", [*TEST_LISTENER, *IN, *OUT]),
        ("regional", [*TEST_LISTENER, *CHOSEN, *OUT]),
    ],
)
def test_networks_are_named_at_the_edge_only(stacks: Stacks, variant: str, rows: list[Row]) -> None:
    assert reachability.networks(stacks[variant]) == sorted(rows)


TASKS = ("api", "console", "operator", "relay", "renewer", "worker")


@pytest.mark.requirement("SC-7.1")
@pytest.mark.parametrize(
    ("variant", "way"),
    [
        ("dev", "internet gateway"),
        ("prod", "nat"),
        ("per-zone", "nat"),
        ("regional", "nat"),
    ],
)
def test_what_a_group_is_in_decides_its_way_out(stacks: Stacks, variant: str, way: str) -> None:
    assert reachability.ways(stacks[variant], BY_HAND) == sorted(
        [
            ("cache", "none"),
            ("database", "none"),
            *([("endpoints", "nat")] if variant == "per-zone" else []),
            ("smtp-balancer", "internet gateway"),
            ("web-balancer", "internet gateway"),
            *((task, way) for task in TASKS),
        ]
    )


@pytest.mark.parametrize("variant", VARIANTS)
def test_nothing_is_left_unread(stacks: Stacks, variant: str) -> None:
    assert reachability.unread(stacks[variant]) == []


INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
DEFAULT = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
ROUTE = "aws:ec2/route:Route"
ASSOCIATION = "aws:ec2/routeTableAssociation:RouteTableAssociation"
NAT = "aws:ec2/natGateway:NatGateway"
SUBNET = "aws:ec2/subnet:Subnet"
SERVICE = "aws:ecs/service:Service"
BALANCER = "aws:lb/loadBalancer:LoadBalancer"
DATABASE = "aws:rds/instance:Instance"

PLACED = ("aws:ec2/", "aws:ecs/", "aws:elasticache/", "aws:lb/", "aws:rds/", "aws:scheduler/", "aws:vpc/")
FACTS: list[Callable[[Graph], Any]] = [
    lambda graph: reachability.table(graph, BY_HAND),
    lambda graph: reachability.ways(graph, BY_HAND),
    reachability.networks,
    reachability.unread,
]
ANYWHERE = {"referencedSecurityGroupId": None, "cidrIpv4": "0.0.0.0/0"}


def changed(graph: Graph, kind: str, name: str, change: Mapping[str, Any]) -> Graph:
    found = graph.one(kind, name)
    inputs = {key: value for key, value in {**found.inputs, **change}.items() if value is not None}
    return replace(graph, nodes=tuple(replace(node, inputs=inputs) if node is found else node for node in graph.nodes))


@pytest.mark.requirement("SC-7.3")
@pytest.mark.parametrize(
    ("stack", "kind", "name", "change"),
    [
        # Rules.
        ("prod", INGRESS, "prod-database-from-relay-5432", ANYWHERE),
        ("prod", INGRESS, "prod-database-from-relay-5432", {"referencedSecurityGroupId": None, "cidrIpv6": "::/0"}),
        ("prod", INGRESS, "prod-database-from-relay-5432", {"referencedSecurityGroupId": None, "prefixListId": "pl-1"}),
        ("prod", INGRESS, "prod-database-from-relay-5432", {"fromPort": 0.0}),
        ("prod", INGRESS, "prod-database-from-relay-5432", {"ipProtocol": "udp"}),
        (
            "prod",
            INGRESS,
            "prod-relay-from-smtp-balancer-8081",
            {"referencedSecurityGroupId": "${smtp-proxy-prod-web-balancer.id}"},
        ),
        ("prod", INGRESS, "prod-cache-from-worker-6379", ANYWHERE),
        ("prod", INGRESS, "prod-web-balancer-from-10.40.0.0-16-8443", {"cidrIpv4": "0.0.0.0/0"}),
        ("prod", EGRESS, "prod-worker-to-internet-465", {"ipProtocol": "-1"}),
        ("prod", EGRESS, "prod-worker-to-internet-465", {"fromPort": 25.0, "toPort": 25.0}),
        ("prod", EGRESS, "prod-relay-to-internet-443", {"cidrIpv4": "10.40.0.0/16"}),
        ("prod", EGRESS, "prod-smtp-balancer-to-relay-2587", ANYWHERE),
        ("prod", GROUP, "prod-database", {"ingress": [{"protocol": "tcp", "cidrBlocks": ["0.0.0.0/0"]}]}),
        ("prod", DEFAULT, "prod-network", {"egress": [{"protocol": "-1", "cidrBlocks": ["0.0.0.0/0"]}]}),
        # Routes.
        ("prod", ROUTE, "prod-network-public", {"routeTableId": "${smtp-proxy-prod-network-isolated.id}"}),
        ("prod", ROUTE, "prod-network-private", {"natGatewayId": None, "gatewayId": "${smtp-proxy-prod-network.id}"}),
        ("prod", ROUTE, "prod-network-private", {"routeTableId": "${smtp-proxy-prod-network-isolated.id}"}),
        ("per-zone", ROUTE, "prod-network-private-b", {"natGatewayId": "${elsewhere.id}"}),
        ("prod", ASSOCIATION, "prod-network-isolated-b", {"routeTableId": "${smtp-proxy-prod-network-public.id}"}),
        ("prod", ASSOCIATION, "prod-network-private-c", {"subnetId": "${elsewhere.id}"}),
        ("prod", NAT, "prod-network-nat-a", {"subnetId": "${smtp-proxy-prod-network-private-a.id}"}),
        ("prod", NAT, "prod-network-nat-a", {"allocationId": None}),
        # Places.
        (
            "prod",
            SERVICE,
            "prod-worker",
            {
                "networkConfiguration": {
                    "subnets": ["${smtp-proxy-prod-network-isolated-a.id}"],
                    "securityGroups": ["${smtp-proxy-prod-worker.id}"],
                }
            },
        ),
        ("prod", BALANCER, "prod-smtp", {"internal": True}),
        ("prod", BALANCER, "prod-web", {"securityGroups": ["${smtp-proxy-prod-relay.id}"]}),
        ("prod", DATABASE, "prod-database", {"dbSubnetGroupName": None}),
        ("prod", DATABASE, "prod-database", {"vpcSecurityGroupIds": ["${smtp-proxy-prod-cache.id}"]}),
    ],
)
def test_a_change_is_noticed(stacks: Stacks, stack: str, kind: str, name: str, change: Mapping[str, Any]) -> None:
    whole = stacks[stack]
    weak = changed(whole, kind, f"smtp-proxy-{name}", change)
    assert [fact(weak) for fact in FACTS] != [fact(whole) for fact in FACTS]


@pytest.mark.requirement("SC-7.3")
@pytest.mark.parametrize("stack", ["dev", "per-zone"])
def test_every_rule_is_needed(stacks: Stacks, stack: str) -> None:
    whole = pared(stacks[stack])
    before = reachability.table(whole, BY_HAND)
    rules = [*whole.of_type(INGRESS), *whole.of_type(EGRESS)]
    idle = [rule.name for rule in rules if reachability.table(without(whole, rule), BY_HAND) == before]
    # Only beside the way to the internet, which covers the VPC too; they are there for whoever narrows that one.
    assert idle == [f"smtp-proxy-prod-{task}-to-endpoints-443" for task in TASKS if stack == "per-zone"]


def pared(graph: Graph) -> Graph:
    """The part of a stack that has to do with the network: quicker to read a hundred times over."""
    nodes = [node for node in graph.nodes if node.is_component or node.type.startswith(PLACED)]
    return replace(graph, nodes=tuple(nodes))


def without(graph: Graph, gone: Node) -> Graph:
    return replace(graph, nodes=tuple(node for node in graph.nodes if node is not gone))


@pytest.mark.parametrize("stack", ["dev", "prod", "per-zone", "regional"])
def test_every_route_and_association_of_a_way_out_is_needed(stacks: Stacks, stack: str) -> None:
    whole = pared(stacks[stack])
    before = reachability.ways(whole, BY_HAND)
    parts = [*whole.of_type(ROUTE), *whole.of_type(ASSOCIATION), *whole.of_type(NAT)]
    idle = [part.name for part in parts if reachability.ways(without(whole, part), BY_HAND) == before]
    # Isolated subnets have no way out to lose, nor have private ones where tasks are in public ones.
    shut = ["isolated", "private"] if stack == "dev" else ["isolated"]
    zones = "ab" if stack == "dev" else "abc"
    prefix = f"smtp-proxy-{whole.stack}-network"
    assert sorted(idle) == sorted(f"{prefix}-{tier}-{zone}" for tier in shut for zone in zones)


def test_tasks_without_an_address_are_stranded_in_a_public_subnet(stacks: Stacks) -> None:
    dev = stacks["dev"]
    relay = dev.one(SERVICE, "smtp-proxy-dev-relay")
    alone = {**relay.inputs["networkConfiguration"], "assignPublicIp": False}
    weak = changed(dev, SERVICE, "smtp-proxy-dev-relay", {"networkConfiguration": alone})
    assert ("relay", "internet gateway, but no public address") in reachability.ways(weak)
    assert ("relay", "internet", "443") not in reachability.table(weak)
    (subnet, *_) = [node for node in dev.of_type(SUBNET) if "public" in node.name]
    given = changed(weak, SUBNET, subnet.name, {"mapPublicIpOnLaunch": True})
    assert ("relay", "internet gateway") in reachability.ways(given)


@pytest.mark.parametrize(
    "kind", ["aws:ec2/securityGroupRule:SecurityGroupRule", "aws:ec2/vpcPeeringConnection:VpcPeeringConnection"]
)
def test_what_cannot_be_followed_is_told(stacks: Stacks, kind: str) -> None:
    prod = stacks["prod"]
    strange = replace(prod.one(GROUP, "smtp-proxy-prod-cache"), type=kind, urn="urn:strange", inputs={})
    assert reachability.unread(replace(prod, nodes=(*prod.nodes, strange))) == ["urn:strange"]
