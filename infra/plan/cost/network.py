"""Ways in and out: NAT, addresses, endpoints, balancers, names, flow logs."""

from collections.abc import Iterator, Mapping
from typing import Any

from infra.graph import Node
from infra.plan.cost.compute import log_gb
from infra.plan.cost.facts import ENDPOINT, GB, LOG_GROUP, MILLION, NAT, Charge, Facts
from infra.plan.cost.watch import kept

# AWS: "Elastic Load Balancing pricing": what one capacity unit is for in an hour.
_NLCU_GB, _NLCU_CONNECTIONS = 1.0, 800 * 3600
_LCU_GB, _LCU_CONNECTIONS = 1.0, 25 * 3600


def nat(node: Node, facts: Facts) -> Iterator[Charge]:
    """A gateway's hours and its part of the traffic; a regional one is in every zone, with addresses of its own."""
    gateways = facts.graph.of_type(NAT)
    regional = node.inputs.get("availabilityMode") == "regional"
    places = facts.zones if regional else 1
    yield Charge("network.nat", places * facts.hours)
    if regional:
        yield Charge("network.address", places * facts.hours)
    covered = endpoints(facts)
    gigabytes = sum(size for service, size in traffic(facts).items() if service not in covered) / len(gateways)
    yield Charge("network.nat-data", gigabytes)
    elsewhere = 0.0 if regional else max(0, facts.zones - len(gateways)) / facts.zones
    yield Charge("network.cross-zone", gigabytes * elsewhere)


def traffic(facts: Facts) -> Mapping[str, float]:
    """GB a month from tasks to AWS services by the names of their endpoints; S3 and DynamoDB have free gateways."""
    wire = facts.mail_gb * facts.assumed("wire_factor")
    return {"sqs": 2 * wire, "email": wire, "logs": log_gb(facts)}


def endpoints(facts: Facts) -> set[str]:
    """Services that an interface endpoint takes past NAT."""
    nodes = facts.graph.of_type(ENDPOINT)
    return {_service(node) for node in nodes if node.inputs.get("vpcEndpointType") == "Interface"}


def endpoint(node: Node, facts: Facts) -> Iterator[Charge]:
    """An interface endpoint's zones and traffic; gateways are free."""
    if node.inputs.get("vpcEndpointType") != "Interface":
        return
    yield Charge("network.endpoint", len(node.inputs.get("subnetIds", [])) * facts.hours)
    yield Charge("network.endpoint-data", traffic(facts).get(_service(node), 0.0))


def address(_node: Node, facts: Facts) -> Iterator[Charge]:
    """A public IPv4 address, in use or not."""
    yield Charge("network.address", facts.hours)


def balancer(node: Node, facts: Facts) -> Iterator[Charge]:
    """A load balancer's hours, capacity units, addresses and traffic."""
    yield Charge("balancer.hour", facts.hours)
    mappings: list[dict[str, Any]] = node.inputs.get("subnetMappings", [])
    own = len(node.inputs.get("subnets", [])) + sum(1 for mapping in mappings if not mapping.get("allocationId"))
    if node.inputs.get("internal") is not True:
        yield Charge("network.address", own * facts.hours)
    if node.inputs.get("loadBalancerType") == "network":
        yield from _network_balancer(node, facts)
    else:
        gigabytes = facts.assumed("web_requests") * facts.assumed("web_bytes") / GB
        yield Charge("balancer.lcu", max(gigabytes / _LCU_GB, facts.assumed("web_requests") / _LCU_CONNECTIONS))
        yield Charge("network.internet", gigabytes)


def _network_balancer(node: Node, facts: Facts) -> Iterator[Charge]:
    yield Charge("balancer.nlcu", max(facts.mail_gb / _NLCU_GB, facts.mails / _NLCU_CONNECTIONS))
    yield Charge("network.internet", facts.per_mail("reply_bytes") / GB)
    if node.inputs.get("enableCrossZoneLoadBalancing") is True:
        yield Charge("network.cross-zone", facts.mail_gb * (facts.zones - 1) / facts.zones)


def flow_log(node: Node, facts: Facts) -> Iterator[Charge]:
    """What the VPC's flow log takes in and keeps."""
    gigabytes = facts.per_mail("flow_log_bytes") / GB + facts.all_tasks * facts.assumed("flow_log_task_gb")
    if node.inputs.get("logDestinationType") == "s3":
        yield Charge("logs.flow-to-bucket", gigabytes)
        yield Charge("bucket.storage", gigabytes)
        return
    yield Charge("logs.ingest", gigabytes)
    for group in facts.referred(node, "logDestination", LOG_GROUP):
        yield kept(group, gigabytes, facts)


def zone(_node: Node, facts: Facts) -> Iterator[Charge]:
    """A hosted zone and its queries."""
    yield Charge("zone.month", 1)
    yield Charge("zone.queries", facts.assumed("queries") / MILLION)


def _service(node: Node) -> str:
    return str(node.inputs.get("serviceName", "")).rpartition(".")[2]
