"""The balancer in front of the relay: it passes TCP on and leaves TLS to the relay."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import iam, names
from infra.targets import COLOURS, Route, target

# The relay is not root, and Fargate lets only root listen below 1024 (aws/containers-roadmap#1721).
CONTAINER_PORTS: Final[Mapping[int, int]] = {587: 2587, 465: 2465}
HEALTH_PORT: Final = 8081
# RFC 5321, 4.5.3.2: a client may wait 10 minutes for an answer, and the balancer must not hang up before it.
IDLE_SECONDS: Final = 660
# SC-8.3. Fargate gives 120 seconds after SIGTERM; what a session needs beyond them it gets here, before SIGTERM.
DRAIN_SECONDS: Final = 300
_POLICY: Final = "arn:aws:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers"


@dataclass(frozen=True, kw_only=True)
class SmtpBalancerArgs:
    """Where the balancer stands; `internal` hides it from the internet."""

    vpc_id: Input[str]
    subnet_ids: Sequence[Input[str]]
    security_group_id: Input[str]
    deletion_protection: bool
    internal: bool = False


class SmtpBalancer(pulumi.ComponentResource):
    """Declares the balancer, its listeners and target groups. It has no certificate and no DNS name of the stack.

    Both target groups of a port hang on its listener from the start, as an ECS canary requires of them. ECS moves the
    weights at each release, so the program only sets the first ones. A `stickiness` block must never be added: AWS
    refuses it on this kind of balancer.
    """

    arn: Output[str]
    arn_suffix: Output[str]
    dns_name: Output[str]
    zone_id: Output[str]
    routes: Mapping[int, Route]
    """By the port that clients connect to."""
    listeners: Sequence[aws.lb.Listener]
    """ECS accepts a target group only once a listener uses it: a service depends on these."""

    def __init__(self, name: str, args: SmtpBalancerArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:nlb:SmtpBalancer", name, None, opts)
        child = ResourceOptions(parent=self)

        balancer = aws.lb.LoadBalancer(
            names.fit(name, names.BALANCER_LIMIT),
            load_balancer_type="network",
            internal=args.internal,
            subnets=list(args.subnet_ids),
            # A balancer made without a security group can never get one.
            security_groups=[args.security_group_id],
            # Two relays in three zones: a client must reach one whatever zone its resolver picks.
            enable_cross_zone_load_balancing=True,
            enable_deletion_protection=args.deletion_protection,
            opts=child,
        )
        ports = {port: self._port(name, port, args, balancer, child) for port in CONTAINER_PORTS}

        self.arn, self.arn_suffix = balancer.arn, balancer.arn_suffix
        self.dns_name, self.zone_id = balancer.dns_name, balancer.zone_id
        self.routes = {port: route for port, (route, _) in ports.items()}
        self.listeners = [listener for _, listener in ports.values()]
        self.register_outputs({"arn": self.arn, "dns_name": self.dns_name})

    @classmethod
    def _port(
        cls, name: str, port: int, args: SmtpBalancerArgs, balancer: aws.lb.LoadBalancer, opts: ResourceOptions
    ) -> tuple[Route, aws.lb.Listener]:
        blue, green = (
            cls._group(names.fit_role(name, f"{port}-{colour}", names.BALANCER_LIMIT), port, args, opts)
            for colour in COLOURS
        )
        listener = aws.lb.Listener(
            f"{name}-{port}",
            load_balancer_arn=balancer.arn,
            port=port,
            protocol="TCP",
            tcp_idle_timeout_seconds=IDLE_SECONDS,
            default_actions=[
                {
                    "type": "forward",
                    "forward": {
                        "target_groups": [{"arn": blue.arn, "weight": 100}, {"arn": green.arn, "weight": 0}],
                    },
                }
            ],
            opts=ResourceOptions.merge(opts, ResourceOptions(ignore_changes=["default_actions"])),
        )
        route = Route(
            container_port=CONTAINER_PORTS[port],
            blue=target(blue),
            green=target(green),
            production_listener_arn=listener.arn,
        )
        return route, listener

    @staticmethod
    def _group(name: str, port: int, args: SmtpBalancerArgs, opts: ResourceOptions) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            name,
            vpc_id=args.vpc_id,
            target_type="ip",
            protocol="TCP",
            port=CONTAINER_PORTS[port],
            # The client's address without a PROXY header, which would come before TLS on 465 and in health checks too.
            preserve_client_ip="true",
            proxy_protocol_v2=False,
            # HTTP on a port of its own: a probe of the SMTP port would be a session, every 10 seconds, from every zone.
            health_check={
                "protocol": "HTTP",
                "port": str(HEALTH_PORT),
                "path": "/readyz",
                "matcher": "200",
                "interval": 10,
                "timeout": 6,
                "healthy_threshold": 2,
                "unhealthy_threshold": 2,
            },
            deregistration_delay=DRAIN_SECONDS,
            # A relay that is leaving, or had one bad moment, keeps the sessions it has.
            connection_termination=False,
            target_health_states=[
                {"enable_unhealthy_connection_termination": False, "unhealthy_draining_interval": DRAIN_SECONDS}
            ],
            opts=opts,
        )


class LoadBalancerRole(pulumi.ComponentResource):
    """Declares the role in which ECS moves traffic between target groups; ECS's own strategies need one."""

    arn: Output[str]
    attachment: aws.iam.RolePolicyAttachment
    """Without it the role can do nothing: a service depends on it."""

    def __init__(self, name: str, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:nlb:LoadBalancerRole", name, None, opts)
        child = ResourceOptions(parent=self)

        role = aws.iam.Role(
            names.fit(name, names.ROLE_LIMIT),
            assume_role_policy=iam.document(iam.assumed_by("ecs.amazonaws.com")),
            opts=child,
        )
        self.attachment = aws.iam.RolePolicyAttachment(name, role=role.name, policy_arn=_POLICY, opts=child)

        self.arn = role.arn
        self.register_outputs({"arn": self.arn})
