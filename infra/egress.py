"""The way from private subnets to the internet."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Output, ResourceOptions

from infra.settings import Egress
from infra.subnets import ANYWHERE


@dataclass(frozen=True, kw_only=True)
class PrivateRoutesArgs:
    """The subnets by the letters of their zones, and the gateway that NAT needs to be attached first."""

    strategy: Egress
    vpc_id: Output[str]
    internet_gateway: pulumi.Resource
    public: Mapping[str, Output[str]]
    private: Mapping[str, Output[str]]


class PrivateRoutes(pulumi.ComponentResource):
    """Declares NAT gateways as the strategy wants them, and the private subnets' route tables; no subnets."""

    route_table_ids: Sequence[Output[str]]
    gateway_ids: Sequence[Output[str]]
    addresses: Sequence[Output[str]]
    """The public addresses that tasks come from, for lists of allowed networks; those of a regional NAT are AWS's."""

    def __init__(self, name: str, args: PrivateRoutesArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:egress:PrivateRoutes", name, None, opts)
        child = ResourceOptions(parent=self)

        letters, shared = tuple(args.private), args.strategy != "nat-per-zone"
        attached = ResourceOptions.merge(child, ResourceOptions(depends_on=[args.internet_gateway]))
        elastic: dict[str, aws.ec2.Eip] = {}
        gateways: dict[str, Output[str]] = {}
        for letter in _zonal(args.strategy, letters):
            role = f"{name}-nat-{letter}"
            elastic[letter] = aws.ec2.Eip(role, domain="vpc", tags={"Name": role}, opts=attached)
            gateways[letter] = self._zonal(role, args.public[letter], elastic[letter], attached)
        if args.strategy == "nat-regional":
            gateways[letters[0]] = self._regional(f"{name}-nat", args.vpc_id, attached)

        tables: dict[str, Output[str]] = {}
        for letter in letters[:1] if shared else letters:
            role = f"{name}-private" if shared else f"{name}-private-{letter}"
            tables[letter] = self._table(role, args.vpc_id, gateways.get(letter), child)
        for letter, subnet in args.private.items():
            table = tables[letters[0] if shared else letter]
            aws.ec2.RouteTableAssociation(
                f"{name}-private-{letter}", subnet_id=subnet, route_table_id=table, opts=child
            )

        self.route_table_ids = list(tables.values())
        self.gateway_ids = list(gateways.values())
        self.addresses = [address.public_ip for address in elastic.values()]
        self.register_outputs({"route_table_ids": self.route_table_ids, "addresses": self.addresses})

    @staticmethod
    def _zonal(role: str, subnet: Output[str], address: aws.ec2.Eip, opts: ResourceOptions) -> Output[str]:
        gateway = aws.ec2.NatGateway(
            role,
            connectivity_type="public",
            subnet_id=subnet,
            allocation_id=address.allocation_id,
            tags={"Name": role},
            opts=opts,
        )
        return gateway.id

    @staticmethod
    def _regional(role: str, vpc_id: Output[str], opts: ResourceOptions) -> Output[str]:
        gateway = aws.ec2.NatGateway(
            role,
            connectivity_type="public",
            availability_mode="regional",
            vpc_id=vpc_id,
            tags={"Name": role},
            opts=opts,
        )
        return gateway.id

    @staticmethod
    def _table(role: str, vpc_id: Output[str], gateway: Output[str] | None, opts: ResourceOptions) -> Output[str]:
        table = aws.ec2.RouteTable(role, vpc_id=vpc_id, tags={"Name": role}, opts=opts)
        if gateway is not None:
            aws.ec2.Route(
                role, route_table_id=table.id, destination_cidr_block=ANYWHERE, nat_gateway_id=gateway, opts=opts
            )
        return table.id


def _zonal(strategy: Egress, letters: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the zones that have a NAT gateway of their own."""
    return {"nat-single": letters[:1], "nat-per-zone": letters}.get(strategy, ())
