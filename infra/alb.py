"""The balancer in front of the API and the console: it ends TLS and sends each path to its service."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import names
from infra.targets import COLOURS, Route, target

WebService = Literal["api", "console"]

CONTAINER_PORT: Final = 8080
HTTPS_PORT: Final = 443
TEST_PORT: Final = 8443
# What the API answers; everything else is the console's. A rule takes five values (elbv2 CreateRule, Conditions).
API_PATHS: Final = ("/api/*", "/healthz*", "/openapi.json")
# SC-10.2. Pages of the console are short.
DRAIN_SECONDS: Final[Mapping[WebService, int]] = {"api": 120, "console": 30}
# Shorter than the services keep an idle connection, so that none is closed under a request.
IDLE_SECONDS: Final = 60
# TLS 1.2 and 1.3 with forward secrecy and authenticated encryption only.
TLS_POLICY: Final = "ELBSecurityPolicy-TLS13-1-2-Res-2021-06"
_YEAR_SECONDS: Final = 31_536_000
_RULE_PRIORITY: Final = 10

_Groups = Mapping[WebService, Sequence[aws.lb.TargetGroup]]


@dataclass(frozen=True, kw_only=True)
class HttpBalancerArgs:
    """Where the balancer stands, its certificate, and the bucket its access logs go to, if they are kept."""

    vpc_id: Input[str]
    subnet_ids: Sequence[Input[str]]
    security_group_id: Input[str]
    certificate_arn: Input[str]
    deletion_protection: bool
    log_bucket: Input[str] | None = None
    """Has to let logdelivery.elasticloadbalancing.amazonaws.com write, and to be encrypted with S3's own key."""
    api_paths: Sequence[str] = API_PATHS
    after: Sequence[pulumi.Resource] = ()
    """What lets the balancer write to the bucket: AWS tries that when it is made."""


class HttpBalancer(pulumi.ComponentResource):
    """Declares the balancer, its listeners, rules and target groups. It has neither firewall nor DNS name of its own.

    Port 443 is what everyone uses; on 8443 the colour that a release comes up in can be tried, by those whom the
    security group lets in. CodeDeploy moves whatever on the two listeners sends traffic to a service's two target
    groups: for the API that is the rule of its paths, for the console the default action. No rule names target groups
    of both, so two releases can run side by side.
    """

    arn: Output[str]
    arn_suffix: Output[str]
    dns_name: Output[str]
    zone_id: Output[str]
    routes: Mapping[WebService, Route]
    listeners: Sequence[pulumi.Resource]
    """ECS accepts a target group only once a listener or rule uses it: a service depends on these."""

    def __init__(self, name: str, args: HttpBalancerArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:alb:HttpBalancer", name, None, opts)
        child = ResourceOptions(parent=self)

        balancer = self._balancer(name, args, child)
        groups: _Groups = {
            service: [
                self._group(names.fit_role(name, f"{service}-{colour}", names.BALANCER_LIMIT), service, args, child)
                for colour in COLOURS
            ]
            for service in DRAIN_SECONDS
        }
        self._redirect(f"{name}-80", balancer, child)
        # Before the first release the test listener has nothing to show: the green groups are empty.
        production = self._https(f"{name}-443", balancer, HTTPS_PORT, groups["console"][0], args, child)
        test = self._https(f"{name}-8443", balancer, TEST_PORT, groups["console"][1], args, child)
        rules = [
            self._rule(f"{name}-443-api", production, groups["api"][0], args, child),
            self._rule(f"{name}-8443-api", test, groups["api"][1], args, child),
        ]

        self.arn, self.arn_suffix = balancer.arn, balancer.arn_suffix
        self.dns_name, self.zone_id = balancer.dns_name, balancer.zone_id
        self.routes = {
            service: Route(
                container_port=CONTAINER_PORT,
                blue=target(blue),
                green=target(green),
                production_listener_arn=production.arn,
                test_listener_arn=test.arn,
            )
            for service, (blue, green) in groups.items()
        }
        self.listeners = [production, test, *rules]
        self.register_outputs({"arn": self.arn, "dns_name": self.dns_name})

    @staticmethod
    def _balancer(name: str, args: HttpBalancerArgs, opts: ResourceOptions) -> aws.lb.LoadBalancer:
        return aws.lb.LoadBalancer(
            names.fit(name, names.BALANCER_LIMIT),
            load_balancer_type="application",
            internal=False,
            subnets=list(args.subnet_ids),
            security_groups=[args.security_group_id],
            drop_invalid_header_fields=True,
            idle_timeout=IDLE_SECONDS,
            enable_deletion_protection=args.deletion_protection,
            access_logs={"bucket": args.log_bucket, "enabled": True} if args.log_bucket is not None else None,
            opts=ResourceOptions.merge(opts, ResourceOptions(depends_on=list(args.after))),
        )

    @staticmethod
    def _redirect(name: str, balancer: aws.lb.LoadBalancer, opts: ResourceOptions) -> None:
        aws.lb.Listener(
            name,
            load_balancer_arn=balancer.arn,
            port=80,
            protocol="HTTP",
            default_actions=[
                {
                    "type": "redirect",
                    "redirect": {"port": str(HTTPS_PORT), "protocol": "HTTPS", "status_code": "HTTP_301"},
                }
            ],
            opts=opts,
        )

    @staticmethod
    def _https(
        name: str,
        balancer: aws.lb.LoadBalancer,
        port: int,
        group: aws.lb.TargetGroup,
        args: HttpBalancerArgs,
        opts: ResourceOptions,
    ) -> aws.lb.Listener:
        return aws.lb.Listener(
            name,
            load_balancer_arn=balancer.arn,
            port=port,
            protocol="HTTPS",
            ssl_policy=TLS_POLICY,
            certificate_arn=args.certificate_arn,
            default_actions=[{"type": "forward", "target_group_arn": group.arn}],
            routing_http_response_strict_transport_security_header_value=f"max-age={_YEAR_SECONDS}",
            routing_http_response_server_enabled=False,
            opts=ResourceOptions.merge(opts, ResourceOptions(ignore_changes=["default_actions"])),
        )

    @staticmethod
    def _rule(
        name: str, listener: aws.lb.Listener, group: aws.lb.TargetGroup, args: HttpBalancerArgs, opts: ResourceOptions
    ) -> aws.lb.ListenerRule:
        return aws.lb.ListenerRule(
            name,
            listener_arn=listener.arn,
            priority=_RULE_PRIORITY,
            conditions=[{"path_pattern": {"values": list(args.api_paths)}}],
            actions=[{"type": "forward", "target_group_arn": group.arn}],
            opts=ResourceOptions.merge(opts, ResourceOptions(ignore_changes=["actions"])),
        )

    @staticmethod
    def _group(name: str, service: WebService, args: HttpBalancerArgs, opts: ResourceOptions) -> aws.lb.TargetGroup:
        return aws.lb.TargetGroup(
            name,
            vpc_id=args.vpc_id,
            target_type="ip",
            # The balancer checks no certificate of a target, so each task makes its own.
            protocol="HTTPS",
            port=CONTAINER_PORT,
            health_check={
                "protocol": "HTTPS",
                "port": "traffic-port",
                "path": "/readyz",
                "matcher": "200",
                "interval": 10,
                "timeout": 5,
                "healthy_threshold": 2,
                "unhealthy_threshold": 3,
            },
            deregistration_delay=DRAIN_SECONDS[service],
            opts=opts,
        )
