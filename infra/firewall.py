"""Security groups, made of the table of flows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra.flows import GROUPS, Flow, address


@dataclass(frozen=True, kw_only=True)
class FirewallArgs:
    """The flows that are let through, and where."""

    vpc_id: Input[str]
    flows: Sequence[Flow]


class Firewall(pulumi.ComponentResource):
    """Declares a security group for each group that a flow names, and a rule for each flow, port and direction.

    It puts nothing in the groups: what a group is for takes its id.
    """

    group_ids: Mapping[str, Output[str]]

    def __init__(self, name: str, args: FirewallArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:firewall:Firewall", name, None, opts)
        self._name, self._child = name, ResourceOptions(parent=self)

        named = {end for flow in args.flows for end in (flow.source, flow.target)}
        self.group_ids = {
            group: self._group(group, description, args.vpc_id)
            for group, description in GROUPS.items()
            if group in named
        }
        for flow in args.flows:
            for port in flow.ports:
                self._let_in(flow, port)
                self._let_out(flow, port)
        self.register_outputs({"group_ids": self.group_ids})

    def _group(self, group: str, description: str, vpc_id: Input[str]) -> Output[str]:
        role = f"{self._name}-{group}"
        made = aws.ec2.SecurityGroup(
            role, description=description, vpc_id=vpc_id, tags={"Name": role}, opts=self._child
        )
        return made.id

    def _let_in(self, flow: Flow, port: int) -> None:
        if flow.target not in self.group_ids:
            return
        aws.vpc.SecurityGroupIngressRule(
            f"{self._name}-{flow.target}-from-{_slug(flow.source)}-{port}",
            security_group_id=self.group_ids[flow.target],
            referenced_security_group_id=self.group_ids.get(flow.source),
            cidr_ipv4=address(flow.source),
            ip_protocol=flow.protocol,
            from_port=port,
            to_port=port,
            description=flow.why,
            opts=self._child,
        )

    def _let_out(self, flow: Flow, port: int) -> None:
        if flow.source not in self.group_ids:
            return
        aws.vpc.SecurityGroupEgressRule(
            f"{self._name}-{flow.source}-to-{_slug(flow.target)}-{port}",
            security_group_id=self.group_ids[flow.source],
            referenced_security_group_id=self.group_ids.get(flow.target),
            cidr_ipv4=address(flow.target),
            ip_protocol=flow.protocol,
            from_port=port,
            to_port=port,
            description=flow.why,
            opts=self._child,
        )


def _slug(end: str) -> str:
    return end.replace("/", "-")
