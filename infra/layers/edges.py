"""Where clients come in: balancers, their names and the certificate of the web."""

from dataclasses import dataclass

from pulumi import ResourceOptions

from infra import dns
from infra.alb import HttpBalancer, HttpBalancerArgs
from infra.dns import Alias, AliasArgs, Certificate, CertificateArgs
from infra.layers.ground import Ground
from infra.nlb import LoadBalancerRole, SmtpBalancer, SmtpBalancerArgs
from infra.settings import Settings
from infra.waf import FirewallLog, Waf, WafArgs


@dataclass(frozen=True, kw_only=True)
class Edges:
    """The balancers."""

    smtp: SmtpBalancer
    web: HttpBalancer
    balancer_role: LoadBalancerRole


def lay(settings: Settings, ground: Ground, opts: ResourceOptions) -> Edges:
    """Declares the layer."""
    prefix, network, groups = settings.prefix, ground.network, ground.firewall.group_ids
    smtp = SmtpBalancer(
        f"{prefix}-smtp",
        SmtpBalancerArgs(
            vpc_id=network.vpc_id,
            subnet_ids=network.public_subnet_ids,
            security_group_id=groups["smtp-balancer"],
            deletion_protection=settings.protect,
        ),
        opts,
    )
    certificate = Certificate(
        f"{prefix}-web", CertificateArgs(host=settings.names.web_host, zone_id=ground.zone.zone_id), opts
    )
    web = HttpBalancer(
        f"{prefix}-web",
        HttpBalancerArgs(
            vpc_id=network.vpc_id,
            subnet_ids=network.public_subnet_ids,
            security_group_id=groups["web-balancer"],
            certificate_arn=certificate.arn,
            deletion_protection=settings.protect,
            log_bucket=ground.access_logs.name,
            after=[ground.access_logs],
        ),
        opts,
    )
    _names(settings, ground, smtp, web, opts)
    if settings.waf:
        log = FirewallLog(days=settings.watch.log_days, key_arn=ground.watch_key.arn)
        Waf(f"{prefix}-waf", WafArgs(balancer_arn=web.arn, log=log), opts)
    return Edges(smtp=smtp, web=web, balancer_role=LoadBalancerRole(f"{prefix}-balancing", opts))


def _names(settings: Settings, ground: Ground, smtp: SmtpBalancer, web: HttpBalancer, opts: ResourceOptions) -> None:
    for role, host, balancer, signs in (
        ("smtp", settings.names.smtp_host, smtp, dns.issuer(settings.acme.directory)),
        ("web", settings.names.web_host, web, dns.ACM_ISSUER),
    ):
        args = AliasArgs(
            host=host,
            zone_id=ground.zone.zone_id,
            target_name=balancer.dns_name,
            target_zone_id=balancer.zone_id,
            issuer=signs,
        )
        Alias(f"{settings.prefix}-{role}-name", args, opts)
