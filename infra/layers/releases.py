"""How new revisions of the API and the console go out, and who hears of releases and renewals that fail."""

from collections.abc import Mapping
from dataclasses import dataclass

from pulumi import ResourceOptions

from infra.alarm_spec import AlarmSpec, rollback_names
from infra.alb import WebService
from infra.deployment import BlueGreen, BlueGreenArgs
from infra.incidents import Incidents, IncidentsArgs
from infra.layers.edges import Edges
from infra.layers.fleet import Fleet
from infra.layers.ground import Ground
from infra.layers.watch import Watch
from infra.service import PLATFORM
from infra.settings import Settings

WEB_SERVICES: tuple[WebService, ...] = ("api", "console")


@dataclass(frozen=True, kw_only=True)
class Releases:
    """The releases by CodeDeploy."""

    blue_green: Mapping[WebService, BlueGreen]


@dataclass(frozen=True, kw_only=True)
class Below:
    """The layers that releases stand on."""

    ground: Ground
    edges: Edges
    fleet: Fleet
    watch: Watch


def lay(settings: Settings, below: Below, specs: tuple[AlarmSpec, ...], opts: ResourceOptions) -> Releases:
    """Declares the layer."""
    releases: Mapping[WebService, BlueGreen] = {
        name: _release(settings, below, name, specs, opts) for name in WEB_SERVICES
    }
    Incidents(
        f"{settings.prefix}-incidents",
        IncidentsArgs(
            cluster_name=below.fleet.cluster.name,
            cluster_arn=below.fleet.cluster.arn,
            codedeploy_applications=[release.application for release in releases.values()],
            renewer_family=below.fleet.renewer.family,
            topic_arn=below.ground.topic.arn,
        ),
        opts,
    )
    return Releases(blue_green=releases)


def _release(
    settings: Settings, below: Below, name: WebService, specs: tuple[AlarmSpec, ...], opts: ResourceOptions
) -> BlueGreen:
    service, cluster = below.fleet.services[name], below.fleet.cluster
    args = BlueGreenArgs(
        region=settings.region,
        placement=service.placement,
        platform=PLATFORM,
        cluster_name=cluster.name,
        service_arn=service.arn,
        service_name=service.name,
        task_definition_arn=service.task_definition_arn,
        container=service.container_name,
        route=below.edges.web.routes[name],
        task_role_arns=[below.fleet.task_roles[name].arn, below.fleet.execution.arn],
        alarm_names=rollback_names(settings.prefix, name, specs),
        after=[below.watch.alarms],
    )
    return BlueGreen(f"{settings.prefix}-{name}-release", args, opts)
