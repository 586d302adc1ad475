"""What is watched: alarms, scaling, the dashboard and the budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pulumi import Input, ResourceOptions

from infra import alarms, environment, scaling_policies
from infra.alarm_spec import AlarmSpec
from infra.alarms import Alarms, AlarmsArgs
from infra.budget import Budget, BudgetArgs
from infra.config import SERVICES
from infra.dashboard import Dashboard, DashboardArgs
from infra.layers.edges import Edges
from infra.layers.fleet import Fleet
from infra.layers.ground import Ground
from infra.layers.stores import Stores
from infra.queues import Queue
from infra.scaling import Policy, Scaling, ScalingArgs
from infra.settings import ServiceName, Settings
from infra.targets import Route
from infra.watched import EcsService, Targets, Watched, WatchedQueue, cache_nodes


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What watches."""

    alarms: Alarms
    dashboard: Dashboard


def specs(settings: Settings, ground: Ground, stores: Stores, edges: Edges) -> tuple[AlarmSpec, ...]:
    """Returns the alarms before the services are there that they watch: good for their names and nothing else."""
    nobody: Mapping[ServiceName, Input[str]] = dict.fromkeys(SERVICES, "")
    return alarms.specs(_watched(settings, ground, stores, edges, "", nobody))


def lay(settings: Settings, ground: Ground, stores: Stores, edges: Edges, fleet: Fleet, opts: ResourceOptions) -> Watch:
    """Declares the layer."""
    prefix = settings.prefix
    names: Mapping[ServiceName, Input[str]] = {name: service.name for name, service in fleet.services.items()}
    watched = _watched(settings, ground, stores, edges, fleet.cluster.name, names)
    made = Alarms(
        f"{prefix}-alarms",
        AlarmsArgs(specs=alarms.specs(watched), prefix=prefix, topic_arn=ground.topic.arn),
        opts,
    )
    for name, policies in _policies(watched).items():
        _scale(settings, fleet, name, policies, opts)
    Budget(
        f"{prefix}-budget",
        BudgetArgs(monthly_dollars=settings.watch.monthly_budget, tags=settings.tags, topic_arn=ground.topic.arn),
        opts,
    )
    shown = DashboardArgs(watched=watched, region=settings.region, alarm_arns=list(made.arns.values()))
    return Watch(alarms=made, dashboard=Dashboard(prefix, shown, opts))


def _watched(
    settings: Settings,
    ground: Ground,
    stores: Stores,
    edges: Edges,
    cluster: Input[str],
    services: Mapping[ServiceName, Input[str]],
) -> Watched:
    insights = settings.watch.insights
    cluster_mode = settings.cache.mode == "cluster"
    return Watched(
        services={
            name: EcsService(settings=settings.services[name], cluster=cluster, name=service, insights=insights)
            for name, service in services.items()
        },
        queues=_queues(stores),
        smtp={port: _targets(edges.smtp.arn_suffix, route) for port, route in edges.smtp.routes.items()},
        web={name: _targets(edges.web.arn_suffix, route) for name, route in edges.web.routes.items()},
        nat_gateway_ids=ground.network.nat_gateway_ids,
        database=stores.database.identifier,
        database_settings=settings.database,
        cache=stores.cache.name,
        cache_nodes=cache_nodes(stores.cache.name, settings.cache.replicas) if cluster_mode else (),
        namespace=environment.metrics_namespace(settings),
    )


def _queues(stores: Stores) -> Mapping[str, WatchedQueue]:
    ours = {"delivery": stores.delivery, "events": stores.events, "outbound": stores.outbound}
    if stores.inbound is not None:
        ours["inbound"] = stores.inbound
    apps = {f"app-{app}": queue for app, queue in stores.apps.items()}
    return {name: _queue(queue, ours=True) for name, queue in ours.items()} | {
        name: _queue(queue, ours=False) for name, queue in apps.items()
    }


def _queue(queue: Queue, *, ours: bool) -> WatchedQueue:
    return WatchedQueue(name=queue.name, dead_letter_name=queue.dead_letter_name, ours=ours)


def _targets(balancer: Input[str], route: Route) -> Targets:
    return Targets(balancer=balancer, blue=route.blue.arn_suffix, green=route.green.arn_suffix)


def _policies(watched: Watched) -> Mapping[ServiceName, Sequence[Policy]]:
    services = watched.services
    return {
        "relay": [*scaling_policies.relay(services["relay"], watched.process("relay"))],
        "worker": [*scaling_policies.worker(services["worker"], watched.queues["delivery"])],
        "api": [*scaling_policies.api(services["api"], watched.web["api"])],
        "console": [*scaling_policies.console(services["console"])],
    }


def _scale(
    settings: Settings, fleet: Fleet, name: ServiceName, policies: Sequence[Policy], opts: ResourceOptions
) -> None:
    forecast = "ForecastAndScale" if settings.release.predictive_scaling and name == "relay" else None
    args = ScalingArgs(
        service=settings.services[name],
        cluster_name=fleet.cluster.name,
        service_name=fleet.services[name].name,
        policies=policies,
        prewarm=[peak for peak in settings.release.prewarm if peak.service == name],
        forecast=forecast,
    )
    Scaling(f"{settings.prefix}-{name}-scaling", args, opts)
