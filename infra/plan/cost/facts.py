"""What the functions of prices ask about the graph and its load."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from infra.graph import Graph, Node
from infra.plan.prices import Load, Prices

SERVICE: Final = "aws:ecs/service:Service"
TASK: Final = "aws:ecs/taskDefinition:TaskDefinition"
TARGET: Final = "aws:appautoscaling/target:Target"
SUBNET: Final = "aws:ec2/subnet:Subnet"
NAT: Final = "aws:ec2/natGateway:NatGateway"
ENDPOINT: Final = "aws:ec2/vpcEndpoint:VpcEndpoint"
FLOW_LOG: Final = "aws:ec2/flowLog:FlowLog"
LOG_GROUP: Final = "aws:cloudwatch/logGroup:LogGroup"

GB: Final = 1e9
MILLION: Final = 1e6
DAYS: Final = 30.4


@dataclass(frozen=True)
class Charge:
    """So many units of one price in a month."""

    price: str
    quantity: float


@dataclass(frozen=True)
class Facts:
    """A graph under one load, with the prices."""

    graph: Graph
    prices: Prices
    load: Load

    @property
    def hours(self) -> float:
        """Hours of a month."""
        return self.prices.hours

    @property
    def mails(self) -> float:
        """Mails of a month."""
        return self.assumed("mails")

    @property
    def mail_gb(self) -> float:
        """GB of mails in a month, as clients send them."""
        return self.mails * self.assumed("mail_bytes") / GB

    @property
    def zones(self) -> int:
        """Availability zones the stack has subnets in."""
        return len({node.inputs.get("availabilityZone") for node in self.graph.of_type(SUBNET)}) or 1

    @property
    def all_tasks(self) -> float:
        """Tasks of all services."""
        return sum(self.tasks(node) for node in self.graph.of_type(SERVICE))

    def assumed(self, name: str) -> float:
        """Returns an assumption at this load."""
        return self.prices.assumed(name, self.load)

    def per_mail(self, name: str) -> float:
        """Returns how much of something that is assumed per mail comes in a month."""
        return self.mails * self.assumed(name)

    def referred(self, node: Node, key: str, kind: str) -> list[Node]:
        """Returns what a node's property points at."""
        return [found for found in self.graph.of_type(kind) if found.urn in node.references.get(key, ())]

    def referring(self, kind: str, key: str, node: Node) -> list[Node]:
        """Returns the nodes of a type whose property points at this one."""
        return [found for found in self.graph.of_type(kind) if node.urn in found.references.get(key, ())]

    def tasks(self, service: Node) -> float:
        """Returns how many tasks a service has: at full scale as many as scaling allows."""
        wanted = float(service.inputs.get("desiredCount", 1))
        scaled = self.referring(TARGET, "resourceId", service)
        return max([wanted, *(float(node.inputs["maxCapacity"]) for node in scaled)]) if self.load == "full" else wanted

    def share(self, node: Node, pattern: str) -> float:
        """Returns the node's part of a traffic that nodes of its type with such a name carry, or all where none has."""
        return _share(self.graph.of_type(node.type), node, lambda found: bool(re.search(pattern, found.name)))

    def log_share(self, node: Node) -> float:
        """Returns the log group's part of what the services of mail write; flow logs are apart."""
        flows = {urn for flow in self.graph.of_type(FLOW_LOG) for urns in flow.references.values() for urn in urns}
        groups = [found for found in self.graph.of_type(LOG_GROUP) if found.urn not in flows]
        return _share(groups, node, lambda found: bool(re.search("relay|worker", found.name)))


def _share(nodes: list[Node], node: Node, carries: Callable[[Node], bool]) -> float:
    carriers = [found for found in nodes if carries(found)] or nodes
    return 1 / len(carriers) if node in carriers else 0.0


Pricer = Callable[[Node, Facts], Iterator[Charge]]
