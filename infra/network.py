"""The VPC: three subnets in each zone, and the ways out of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra.egress import PrivateRoutes, PrivateRoutesArgs
from infra.endpoints import Gateways, GatewaysArgs
from infra.flow_logs import FlowLogs, FlowLogsArgs
from infra.settings import NetworkSettings
from infra.subnets import ANYWHERE, TIERS, Tier, layout

_Subnets = Mapping[Tier, Mapping[str, Output[str]]]


@dataclass(frozen=True, kw_only=True)
class NetworkArgs:
    """Where the network is, how it is cut, and how long its flow log is kept under which key."""

    region: str
    settings: NetworkSettings
    log_days: int
    log_key_arn: Input[str] | None = None


class Network(pulumi.ComponentResource):
    """Declares the VPC with all that routes in it; who may connect to whom is said by Firewall.

    Balancers are in public subnets, data in isolated ones, which have no route out. Tasks are in private subnets, or in
    public ones with an address of their own where the strategy is public-ip. No subnet gives addresses unasked.
    """

    vpc_id: Output[str]
    cidr: Output[str]
    public_subnet_ids: Sequence[Output[str]]
    private_subnet_ids: Sequence[Output[str]]
    isolated_subnet_ids: Sequence[Output[str]]
    task_subnet_ids: Sequence[Output[str]]
    tasks_have_public_ip: bool
    nat_gateway_ids: Sequence[Output[str]]
    egress_addresses: Sequence[Output[str]]

    def __init__(self, name: str, args: NetworkArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:network:Network", name, None, opts)
        child, settings = ResourceOptions(parent=self), args.settings

        vpc = self._vpc(name, settings.cidr, child)
        gateway = aws.ec2.InternetGateway(name, vpc_id=vpc.id, tags={"Name": name}, opts=child)
        subnets = self._subnets(name, vpc, args, child)
        public = self._table(name, "public", vpc, subnets, child)
        aws.ec2.Route(
            f"{name}-public", route_table_id=public, destination_cidr_block=ANYWHERE, gateway_id=gateway.id, opts=child
        )
        self._table(name, "isolated", vpc, subnets, child)
        private = PrivateRoutes(
            name,
            PrivateRoutesArgs(
                strategy=settings.egress,
                vpc_id=vpc.id,
                internet_gateway=gateway,
                public=subnets["public"],
                private=subnets["private"],
            ),
            child,
        )

        self.vpc_id, self.cidr = vpc.id, vpc.cidr_block
        self.tasks_have_public_ip = settings.egress == "public-ip"
        self.public_subnet_ids = list(subnets["public"].values())
        self.private_subnet_ids = list(subnets["private"].values())
        self.isolated_subnet_ids = list(subnets["isolated"].values())
        self.task_subnet_ids = self.public_subnet_ids if self.tasks_have_public_ip else self.private_subnet_ids
        self.nat_gateway_ids, self.egress_addresses = private.gateway_ids, private.addresses
        self._reach_storage(name, vpc, args, [public] if self.tasks_have_public_ip else private.route_table_ids)
        if settings.flow_logs:
            self._log_flows(f"{name}-flows", vpc, args)
        self.register_outputs({"vpc_id": self.vpc_id, "task_subnet_ids": self.task_subnet_ids})

    @staticmethod
    def _vpc(name: str, cidr: str, opts: ResourceOptions) -> aws.ec2.Vpc:
        vpc = aws.ec2.Vpc(
            name,
            cidr_block=cidr,
            # Both, or interface endpoints do not answer to the services' names.
            enable_dns_hostnames=True,
            enable_dns_support=True,
            tags={"Name": name},
            opts=opts,
        )
        # What is put in no group of its own lands here: nobody reaches it, and it reaches nobody.
        aws.ec2.DefaultSecurityGroup(
            name, vpc_id=vpc.id, ingress=[], egress=[], tags={"Name": f"{name}-default"}, opts=opts
        )
        return vpc

    @staticmethod
    def _subnets(name: str, vpc: aws.ec2.Vpc, args: NetworkArgs, opts: ResourceOptions) -> _Subnets:
        found: dict[Tier, dict[str, Output[str]]] = {tier: {} for tier in TIERS}
        for place in layout(args.settings.cidr, args.settings.zones):
            role = f"{name}-{place.tier}-{place.letter}"
            subnet = aws.ec2.Subnet(
                role,
                vpc_id=vpc.id,
                availability_zone=f"{args.region}{place.letter}",
                cidr_block=place.cidr,
                map_public_ip_on_launch=False,
                tags={"Name": role},
                opts=opts,
            )
            found[place.tier][place.letter] = subnet.id
        return found

    @staticmethod
    def _table(name: str, tier: Tier, vpc: aws.ec2.Vpc, subnets: _Subnets, opts: ResourceOptions) -> Output[str]:
        role = f"{name}-{tier}"
        table = aws.ec2.RouteTable(role, vpc_id=vpc.id, tags={"Name": role}, opts=opts)
        for letter, subnet in subnets[tier].items():
            aws.ec2.RouteTableAssociation(f"{role}-{letter}", subnet_id=subnet, route_table_id=table.id, opts=opts)
        return table.id

    def _reach_storage(self, name: str, vpc: aws.ec2.Vpc, args: NetworkArgs, tables: Sequence[Output[str]]) -> None:
        Gateways(
            name,
            GatewaysArgs(region=args.region, vpc_id=vpc.id, vpc_arn=vpc.arn, route_table_ids=tables),
            ResourceOptions(parent=self),
        )

    def _log_flows(self, name: str, vpc: aws.ec2.Vpc, args: NetworkArgs) -> None:
        FlowLogs(
            name,
            FlowLogsArgs(
                region=args.region, vpc_id=vpc.id, vpc_arn=vpc.arn, days=args.log_days, key_arn=args.log_key_arn
            ),
            ResourceOptions(parent=self),
        )
