"""The whole stack: its provider, its layers from the lowest to the highest, and what it tells."""

from collections.abc import Mapping

import pulumi
import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

from infra import config
from infra.layers import edges, fleet, ground, releases, stores, watch
from infra.layers.edges import Edges
from infra.layers.fleet import Fleet
from infra.layers.ground import Ground
from infra.layers.stores import Stores
from infra.settings import Settings


def deploy() -> None:
    """Declares everything, in the order things depend on each other."""
    settings = config.load()
    opts = ResourceOptions(providers=[_provider(settings)], protect=settings.protect)

    low = ground.lay(settings, opts)
    kept = stores.lay(settings, low, opts)
    outside = edges.lay(settings, low, opts)
    specs = watch.specs(settings, low, kept, outside)
    running = fleet.lay(settings, low, kept, outside, specs, opts)
    watching = watch.lay(settings, low, kept, outside, running, opts)
    releases.lay(settings, releases.Below(ground=low, edges=outside, fleet=running, watch=watching), specs, opts)

    for name, value in _told(settings, low, kept, outside, running).items():
        pulumi.export(name, value)


def _provider(settings: Settings) -> aws.Provider:
    return aws.Provider(
        "aws",
        region=settings.region,
        allowed_account_ids=[settings.account] if settings.account else None,
        default_tags={"tags": settings.tags},
    )


def _records(kept: Stores) -> Output[list[Mapping[str, str]]]:
    """Returns the records of domains outside the zone, which whoever runs those has to create."""
    if kept.receipt is None:
        return kept.ses.records
    return Output.all(kept.ses.records, kept.receipt.records).apply(lambda both: [*both[0], *both[1]])


def _told(settings: Settings, low: Ground, kept: Stores, outside: Edges, running: Fleet) -> Mapping[str, Input[object]]:
    """Returns what people and programs need to know of the stack: names and addresses, never a secret."""
    return {
        "smtp_endpoint": settings.names.smtp_host,
        "web_endpoint": f"https://{settings.names.web_host}",
        "name_servers": low.zone.name_servers,
        "dns_records": _records(kept),
        "egress_addresses": low.network.egress_addresses,
        "smtp_balancer": outside.smtp.dns_name,
        "web_balancer": outside.web.dns_name,
        "cluster": running.cluster.name,
        "operator_task": running.operator.family,
        "renewer_task": running.renewer.family,
        "task_subnets": low.network.task_subnet_ids,
        "tasks_have_public_ip": low.network.tasks_have_public_ip,
        "operator_security_group": low.firewall.group_ids["operator"],
        "renewer_security_group": low.firewall.group_ids["renewer"],
        "repositories": running.images.repository_urls,
        "delivery_queue_url": kept.delivery.url,
        "delivery_dead_letter_queue_url": kept.delivery.dead_letter_url,
        "outbound_queue_url": kept.outbound.url,
        "app_queue_urls": {app: queue.url for app, queue in kept.apps.items()},
        "mail_bucket": kept.mail_bucket.name,
        "configuration_set": kept.ses.configuration_set,
        "provider_key": low.secrets_key.alias,
        "alarm_topic": low.topic.arn,
    }
