"""Names of tasks inside the VPC."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

_TTL_SECONDS = 10


@dataclass(frozen=True, kw_only=True)
class DiscoveryArgs:
    """A private DNS zone, and the services that have a name in it."""

    vpc_id: Input[str]
    domain: str
    """Such as prod.smtp-proxy.internal: nobody else sees it, and no public zone has it."""
    services: Sequence[str]


class Discovery(pulumi.ComponentResource):
    """Declares the namespace in Cloud Map and a name per service; ECS writes the addresses of tasks there.

    No service of the stack needs another by name. This is for what looks at tasks one by one, such as a scraper of
    /metrics.
    """

    namespace_id: Output[str]
    namespace_arn: Output[str]
    registry_arns: Mapping[str, Output[str]]

    def __init__(self, name: str, args: DiscoveryArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:discovery:Discovery", name, None, opts)
        child = ResourceOptions(parent=self)

        namespace = aws.servicediscovery.PrivateDnsNamespace(name, name=args.domain, vpc=args.vpc_id, opts=child)
        registries = {
            service: aws.servicediscovery.Service(
                f"{name}-{service}",
                name=service,
                dns_config={
                    "namespace_id": namespace.id,
                    "routing_policy": "MULTIVALUE",
                    "dns_records": [{"type": "A", "ttl": _TTL_SECONDS}],
                },
                # ECS deregisters tasks itself; addresses that it left behind must not keep the stack from going.
                force_destroy=True,
                opts=child,
            )
            for service in args.services
        }

        self.namespace_id, self.namespace_arn = namespace.id, namespace.arn
        self.registry_arns = {service: registry.arn for service, registry in registries.items()}
        self.register_outputs({"namespace_id": self.namespace_id, "registry_arns": self.registry_arns})
