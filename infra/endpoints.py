"""Ways to AWS's services that do not leave the VPC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam
from infra.flows import GATEWAY_SERVICES

# Layers of images are in buckets of their registries; they are read from there and nothing is written.
_READ_ANYWHERE: Final = {
    "Sid": "ReadAnywhere",
    "Effect": "Allow",
    "Principal": "*",
    "Action": "s3:GetObject",
    "Resource": "*",
}
_BESIDE: Final[Mapping[str, Sequence[Mapping[str, object]]]] = {"s3": [_READ_ANYWHERE]}


@dataclass(frozen=True, kw_only=True)
class EndpointsArgs:
    """The services as in com.amazonaws.REGION.NAME; each is billed per subnet and hour."""

    region: str
    services: Sequence[str]
    vpc_id: Input[str]
    subnet_ids: Sequence[Input[str]]
    security_group_id: Input[str]


class Endpoints(pulumi.ComponentResource):
    """Declares interface endpoints, which answer to the services' own names; not their security group."""

    def __init__(self, name: str, args: EndpointsArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:endpoints:Endpoints", name, None, opts)
        for service in args.services:
            role = f"{name}-{service}"
            aws.ec2.VpcEndpoint(
                role,
                vpc_id=args.vpc_id,
                vpc_endpoint_type="Interface",
                service_name=f"com.amazonaws.{args.region}.{service}",
                subnet_ids=list(args.subnet_ids),
                security_group_ids=[args.security_group_id],
                private_dns_enabled=True,
                tags={"Name": role},
                opts=ResourceOptions(parent=self),
            )
        self.register_outputs({})


@dataclass(frozen=True, kw_only=True)
class GatewaysArgs:
    """The route tables that lead to S3 and DynamoDB without a NAT gateway and its fee per GB."""

    region: str
    vpc_id: Output[str]
    vpc_arn: Output[str]
    route_table_ids: Sequence[Input[str]]


class Gateways(pulumi.ComponentResource):
    """Declares the gateway endpoints of S3 and DynamoDB, which are free; they write to this account only."""

    def __init__(self, name: str, args: GatewaysArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:endpoints:Gateways", name, None, opts)
        account = iam.account(args.vpc_arn)
        for service in GATEWAY_SERVICES:
            role = f"{name}-{service}"
            aws.ec2.VpcEndpoint(
                role,
                vpc_id=args.vpc_id,
                vpc_endpoint_type="Gateway",
                service_name=f"com.amazonaws.{args.region}.{service}",
                route_table_ids=list(args.route_table_ids),
                policy=iam.document(_own(service, account), *_BESIDE.get(service, [])),
                tags={"Name": role},
                opts=ResourceOptions(parent=self),
            )
        self.register_outputs({})


def _own(service: str, account: Output[str]) -> Mapping[str, object]:
    return {
        "Sid": "OwnAccount",
        "Effect": "Allow",
        "Principal": "*",
        "Action": f"{service}:*",
        "Resource": "*",
        "Condition": {"StringEquals": {"aws:ResourceAccount": account}},
    }
