"""Who may open which port to whom, worked out from groups, rules, subnets and routes as they are declared.

Every function takes a graph, and knows nothing of the table that the rules were made of.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import Any, cast

from infra.graph import Graph, Node

Row = tuple[str, str, str]
"""Source, target and port: groups by their short names, networks as they are written, or "internet"."""

_GROUP = "aws:ec2/securityGroup:SecurityGroup"
_INGRESS = "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule"
_EGRESS = "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule"
_DEFAULT_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
_REPLICA = "replicateSourceDb"

# What lets traffic through and is not read here. A stack has none of it, or this page has to learn it.
_UNREAD = {
    "aws:ec2/defaultRouteTable:DefaultRouteTable",
    "aws:ec2/mainRouteTableAssociation:MainRouteTableAssociation",
    "aws:ec2/networkInterfaceSecurityGroupAttachment:NetworkInterfaceSecurityGroupAttachment",
    "aws:ec2/securityGroupRule:SecurityGroupRule",
    "aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation",
    "aws:ec2/vpcPeeringConnection:VpcPeeringConnection",
    "aws:ec2transitgateway/vpcAttachment:VpcAttachment",
}

OPEN, NAT, SHUT, STRANDED = "internet gateway", "nat", "none", "internet gateway, but no public address"


@dataclass(frozen=True)
class Rule:
    """One rule of a group; the peer is a group's token or a network."""

    group: str
    peer: str
    protocol: str
    low: int
    high: int


@dataclass(frozen=True)
class Place:
    """A subnet that a member of a group is in, and the way out of it that the member has."""

    network: IPv4Network
    way: str


@dataclass(frozen=True)
class World:
    """What a graph says about the network."""

    own: IPv4Network
    names: Mapping[str, str]
    """Short names of groups by their tokens."""
    ingress: list[Rule]
    egress: list[Rule]
    places: Mapping[str, set[Place]] = field(default_factory=dict[str, set[Place]])


def table(graph: Graph, like: Mapping[str, str] | None = None) -> list[Row]:
    """Returns every connection that is possible.

    Args:
        graph: of a stack.
        like: groups that have no members in the graph, such as that of tasks which are run by hand, each with the
            group beside which its members will be.
    """
    world = read(graph, like or {})
    return sorted({*_between(world), *_from_outside(world), *_to_outside(world)})


def networks(graph: Graph) -> list[Row]:
    """Returns every network that a rule names, also where no way leads to it or from it."""
    world = read(graph, {})
    inwards = [
        (_shown(rule.peer), world.names[rule.group], _ports(rule)) for rule in _of_networks(world.ingress, world)
    ]
    outwards = [
        (world.names[rule.group], _shown(rule.peer), _ports(rule)) for rule in _of_networks(world.egress, world)
    ]
    return sorted({*inwards, *outwards})


def ways(graph: Graph, like: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Returns each group's way to the internet; a group whose members have different ones is there several times."""
    world = read(graph, like or {})
    return sorted({(world.names[group], place.way) for group, places in world.places.items() for place in places})


def unread(graph: Graph) -> list[str]:
    """Returns what may let traffic through, or be reached, in a way that is not followed here."""
    world = read(graph, {})
    subnets = _subnets(graph)
    return [
        *(node.urn for node in graph.nodes if node.type in _UNREAD),
        *(
            f"{node.urn} has rules of its own"
            for kind in (_GROUP, _DEFAULT_GROUP)
            for node in graph.of_type(kind)
            if node.inputs.get("ingress") or node.inputs.get("egress")
        ),
        *(
            f"{node.urn} has a peer that is no group and no IPv4 network"
            for kind in (_INGRESS, _EGRESS)
            for node in graph.of_type(kind)
            if not ("cidrIpv4" in node.inputs or node.inputs.get("referencedSecurityGroupId") in world.names)
        ),
        *(
            f"{node.urn} is in a group and in no subnet"
            for node in graph.resources
            if node.type not in {_INGRESS, _EGRESS} and _REPLICA not in node.inputs
            if _groups_of(node, world.names) and not _subnets_of(node, subnets)
        ),
    ]


def read(graph: Graph, like: Mapping[str, str]) -> World:
    """Returns what the graph says."""
    (vpc,) = graph.of_type("aws:ec2/vpc:Vpc")
    components = {node.urn: node.name for node in graph.components}
    names = {_id(node): node.name.removeprefix(f"{components[node.parent]}-") for node in graph.of_type(_GROUP)}
    places: dict[str, set[Place]] = {group: set() for group in names}
    subnets, routes = _subnets(graph), _ways(graph)
    for node in graph.resources:
        if node.type in {_INGRESS, _EGRESS}:
            continue
        for group in _groups_of(node, names):
            for subnet in _subnets_of(node, subnets):
                places[group].add(_place(node, subnet, routes))
    tokens = {name: token for token, name in names.items()}
    for group, other in like.items():
        places[tokens[group]] |= places[tokens[other]]
    return World(
        own=IPv4Network(vpc.inputs["cidrBlock"]),
        names=names,
        ingress=[_rule(node) for node in graph.of_type(_INGRESS)],
        egress=[_rule(node) for node in graph.of_type(_EGRESS)],
        places=places,
    )


def _between(world: World) -> Iterator[Row]:
    for out in world.egress:
        for into in world.ingress:
            ports = _both(out, into)
            if ports and _covers(world, out.peer, into.group) and _covers(world, into.peer, out.group):
                yield world.names[out.group], world.names[into.group], ports


def _from_outside(world: World) -> Iterator[Row]:
    for rule in _of_networks(world.ingress, world):
        inside = IPv4Network(rule.peer).subnet_of(world.own)
        if inside or OPEN in {place.way for place in world.places[rule.group]}:
            yield _shown(rule.peer), world.names[rule.group], _ports(rule)


def _to_outside(world: World) -> Iterator[Row]:
    for rule in _of_networks(world.egress, world):
        inside = IPv4Network(rule.peer).subnet_of(world.own)
        if inside or {OPEN, NAT} & {place.way for place in world.places[rule.group]}:
            yield world.names[rule.group], _shown(rule.peer), _ports(rule)


def _of_networks(rules: list[Rule], world: World) -> list[Rule]:
    return [rule for rule in rules if rule.peer not in world.names]


def _covers(world: World, peer: str, group: str) -> bool:
    """Whether the peer of a rule is the group, or a network that its members can be in."""
    if peer in world.names:
        return peer == group
    networks = {place.network for place in world.places[group]} or {world.own}
    return any(IPv4Network(peer).overlaps(network) for network in networks)


def _both(one: Rule, other: Rule) -> str:
    protocols = {one.protocol, other.protocol} - {"-1"}
    low, high = max(one.low, other.low), min(one.high, other.high)
    if len(protocols) > 1 or low > high:
        return ""
    return _ports(Rule("", "", protocols.pop() if protocols else "-1", low, high))


def _ports(rule: Rule) -> str:
    ports = str(rule.low) if rule.low == rule.high else f"{rule.low}-{rule.high}"
    return {"tcp": ports, "-1": "all"}.get(rule.protocol, f"{rule.protocol}/{ports}")


def _shown(network: str) -> str:
    return "internet" if network == "0.0.0.0/0" else network


def _rule(node: Node) -> Rule:
    found = node.inputs
    every = found["ipProtocol"] == "-1"
    return Rule(
        group=found["securityGroupId"],
        # IPv6 and lists of prefixes are not followed (see unread): as wide as can be.
        peer=found.get("referencedSecurityGroupId") or found.get("cidrIpv4") or "0.0.0.0/0",
        protocol=found["ipProtocol"],
        low=0 if every else int(found["fromPort"]),
        high=65_535 if every else int(found["toPort"]),
    )


def _place(node: Node, subnet: Node, routes: Mapping[str, str]) -> Place:
    way = routes.get(_id(subnet), SHUT)
    stranded = way == OPEN and not (_has_public_address(node) or subnet.inputs.get("mapPublicIpOnLaunch"))
    return Place(IPv4Network(subnet.inputs["cidrBlock"]), STRANDED if stranded else way)


def _has_public_address(node: Node) -> bool:
    if node.type == "aws:lb/loadBalancer:LoadBalancer":
        return node.inputs.get("internal") is not True
    asked = {"assignpublicip", "publiclyaccessible"}
    return any(key in asked and value in {True, "ENABLED"} for key, value in _leaves(node.inputs))


def _subnets(graph: Graph) -> Mapping[str, list[Node]]:
    """Returns subnets by whatever stands for them: their ids, and the names of subnet groups."""
    found = {_id(node): [node] for node in graph.of_type("aws:ec2/subnet:Subnet")}
    for group in [node for node in graph.resources if node.type.endswith(":SubnetGroup")]:
        members = [found[token][0] for token in group.inputs["subnetIds"]]
        for name in (f"${{{group.name}.name}}", f"${{{group.name}.id}}", group.inputs.get("name")):
            # A group may have the name of something else, but not that of a subnet.
            if name and name not in found:
                found[name] = members
    return found


def _groups_of(node: Node, names: Mapping[str, str]) -> set[str]:
    return {value for key, value in _leaves(node.inputs) if "securitygroup" in key and value in names}


def _subnets_of(node: Node, subnets: Mapping[str, list[Node]]) -> list[Node]:
    return [
        subnet
        for key, value in _leaves(node.inputs)
        if "subnet" in key and value in subnets
        for subnet in subnets[value]
    ]


def _ways(graph: Graph) -> Mapping[str, str]:
    """Returns each subnet's way out, by its token."""
    tables = {
        node.inputs["subnetId"]: node.inputs["routeTableId"]
        for node in graph.of_type("aws:ec2/routeTableAssociation:RouteTableAssociation")
    }
    routes = [(node.inputs["routeTableId"], node.inputs) for node in graph.of_type("aws:ec2/route:Route")]
    for node in graph.of_type("aws:ec2/routeTable:RouteTable"):
        routes += [(_id(node), route) for route in node.inputs.get("routes", [])]
    internet = {_id(node) for node in graph.of_type("aws:ec2/internetGateway:InternetGateway")}
    is_open = {
        subnet for subnet, own in tables.items() for of, to in routes if of == own if to.get("gatewayId") in internet
    }
    nats = {_id(node) for node in graph.of_type("aws:ec2/natGateway:NatGateway") if _leads_out(node, is_open)}
    behind = {
        subnet for subnet, own in tables.items() for of, to in routes if of == own if to.get("natGatewayId") in nats
    }
    return dict.fromkeys(behind, NAT) | dict.fromkeys(is_open, OPEN)


def _leads_out(nat: Node, is_open: set[str]) -> bool:
    """A regional NAT gateway is routed by AWS; one of a zone needs a public subnet and an address."""
    if nat.inputs.get("availabilityMode") == "regional":
        return True
    return nat.inputs.get("subnetId") in is_open and bool(nat.inputs.get("allocationId"))


def _leaves(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value with the name it goes by, in small letters without underscores."""
    if isinstance(value, dict):
        for name, item in cast("dict[str, Any]", value).items():
            yield from _leaves(item, name.lower().replace("_", ""))
    elif isinstance(value, list):
        for item in cast("list[Any]", value):
            yield from _leaves(item, key)
    elif (inner := _parsed(value)) is not None:
        yield from _leaves(inner, key)
    else:
        yield key, value


def _parsed(value: Any) -> Any:
    """Returns what a text of JSON says, or None."""
    try:
        return json.loads(value) if isinstance(value, str) and value.startswith(("{", "[")) else None
    except ValueError:
        return None


def _id(node: Node) -> str:
    return f"${{{node.name}.id}}"
