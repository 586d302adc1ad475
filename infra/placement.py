"""Where tasks run."""

from collections.abc import Sequence
from dataclasses import dataclass

from pulumi import Input


@dataclass(frozen=True, kw_only=True)
class Placement:
    """A cluster, subnets and a security group."""

    cluster_arn: Input[str]
    subnet_ids: Sequence[Input[str]]
    security_group_id: Input[str]
    public_ip: bool
    """Tasks reach the internet by an address of their own instead of a NAT gateway."""
