"""What runs: images, roles, the tasks that run once or on a schedule, and the four services."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pulumi import Output, Resource, ResourceOptions

from infra import environment
from infra.alarm_spec import AlarmSpec, rollback_names
from infra.alb import WebService
from infra.cluster import Cluster
from infra.config import SERVICES
from infra.container import Health
from infra.discovery import Discovery, DiscoveryArgs
from infra.environment import HEALTH_PORT, WEB_PORT, Environment, Surroundings
from infra.flows import SMTP_PORTS
from infra.layers.edges import Edges
from infra.layers.ground import Ground
from infra.layers.stores import Stores
from infra.layers.yard import COMMANDS, Yard, made
from infra.prepare import Prepare, PrepareArgs
from infra.registry import Images
from infra.roles import ExecutionRole, TaskRole
from infra.rollout import CodeDeploy, NativeCanary, Rolling, Rollout
from infra.schedule import Schedule, ScheduleArgs
from infra.service import Attachment, Service, ServiceArgs, Shift
from infra.settings import Role, ServiceName, Settings
from infra.targets import Route
from infra.task import Task, TaskArgs

LIVENESS = "/livez"
_ENVIRONMENTS: Mapping[ServiceName, Callable[[Settings, Surroundings], Environment]] = {
    "relay": environment.relay,
    "worker": environment.worker,
    "api": environment.api,
    "console": environment.console,
}
_WEB: Mapping[ServiceName, WebService] = {"api": "api", "console": "console"}
SMALL_CPU, SMALL_MEMORY = 256, 512
# Services whose tasks have names in the VPC. Whether ECS keeps such names through a canary of its own is not known.
NAMED: Sequence[ServiceName] = ("worker", "api")
RENEWAL = "rate(12 hours)"
RENEWAL_WINDOW_MINUTES = 60
# A balancer finds a new task healthy after two looks; Python, TLS and the pools are up by then.
GRACE_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What runs."""

    cluster: Cluster
    images: Images
    services: Mapping[ServiceName, Service]
    task_roles: Mapping[Role, TaskRole]
    execution: ExecutionRole
    renewer: Task
    operator: Task


def lay(
    settings: Settings, ground: Ground, stores: Stores, edges: Edges, alarms: Sequence[AlarmSpec], opts: ResourceOptions
) -> Fleet:
    """Declares the layer; `alarms` are known by name only, since they watch what is declared here."""
    yard = made(settings, ground, stores, edges, alarms, opts)
    prepared = _prepare(yard)
    discovery = Discovery(
        f"{settings.prefix}-discovery",
        DiscoveryArgs(vpc_id=ground.network.vpc_id, domain=f"{settings.stack}.smtp-proxy.internal", services=NAMED),
        opts,
    )
    services: dict[ServiceName, Service] = {
        name: _service(yard, name, discovery.registry_arns.get(name), prepared) for name in SERVICES
    }
    renewer = _task(yard, "renewer", environment.renewer(settings, yard.surroundings))
    _renew(yard, renewer)
    return Fleet(
        cluster=yard.cluster,
        images=yard.images,
        services=services,
        task_roles=yard.roles,
        execution=yard.execution,
        renewer=renewer,
        operator=_task(yard, "operator", environment.operator(settings, yard.surroundings)),
    )


def _args(
    yard: Yard, role: Role, told: Environment, *, ports: Sequence[int] = (), health: Health | None = None
) -> TaskArgs:
    settings, (room, command) = yard.settings, COMMANDS[role]
    size = settings.services.get(cast("ServiceName", role))
    return TaskArgs(
        image=yard.images.reference(room),
        command=command,
        environment=told,
        cpu=size.cpu if size else SMALL_CPU,
        memory=size.memory if size else SMALL_MEMORY,
        architecture=settings.release.architecture,
        task_role_arn=yard.roles[role].arn,
        execution_role_arn=yard.execution.arn,
        region=settings.region,
        log_days=settings.watch.log_days,
        log_key_arn=yard.ground.watch_key.arn,
        ports=ports,
        health=health,
        exec=settings.release.exec,
    )


def _task(yard: Yard, role: Role, told: Environment) -> Task:
    return Task(yard.name(role), _args(yard, role, told), yard.opts)


def _prepare(yard: Yard) -> Resource:
    task = _task(yard, "prepare", environment.prepare(yard.settings, yard.surroundings))
    args = PrepareArgs(
        task_definition_arn=task.task_definition_arn,
        log_group_name=task.log_group_name,
        placement=yard.placement("operator"),
        region=yard.settings.region,
        after=yard.before("prepare"),
    )
    return Prepare(f"{yard.settings.prefix}-schema", args, yard.opts).run


def _renew(yard: Yard, renewer: Task) -> None:
    args = ScheduleArgs(
        description="Renews the certificate of the SMTP endpoint when it is time",
        expression=RENEWAL,
        window_minutes=RENEWAL_WINDOW_MINUTES,
        placement=yard.placement("renewer"),
        cluster_arn=yard.cluster.arn,
        task_definition_arn=renewer.task_definition_arn,
        family=yard.name("renewer"),
        role_arns=[yard.roles["renewer"].arn, yard.execution.arn],
        # The listener has a certificate of ACM, for which the zone had to be delegated, as for the renewer's own.
        after=[*yard.before("renewer"), *yard.edges.web.listeners],
    )
    Schedule(yard.name("renewer"), args, yard.opts)


def _service(yard: Yard, name: ServiceName, registry: Output[str] | None, prepared: Resource) -> Service:
    told = _ENVIRONMENTS[name](yard.settings, yard.surroundings)
    ports = {"relay": [*SMTP_PORTS.values(), HEALTH_PORT], "worker": [HEALTH_PORT]}.get(name, [WEB_PORT, HEALTH_PORT])
    args = ServiceArgs(
        task=_args(yard, name, told, ports=ports, health=Health(port=HEALTH_PORT, path=LIVENESS)),
        placement=yard.placement(name),
        tasks=yard.settings.services[name].tasks,
        rollout=_rollout(yard, name),
        attachments=_attachments(yard, name),
        spot=name == "worker" and yard.settings.release.spot_workers,
        grace_seconds=GRACE_SECONDS,
        registry_arn=registry,
        after=[*yard.before(name), prepared, *_listeners(yard, name)],
    )
    return Service(yard.name(name), args, yard.opts)


def _rollout(yard: Yard, name: ServiceName) -> Rollout:
    alarms = rollback_names(yard.settings.prefix, name, yard.alarms)
    if name == "relay":
        return NativeCanary(alarms=alarms)
    return CodeDeploy() if name in _WEB else Rolling(alarms=alarms)


def _attachments(yard: Yard, name: ServiceName) -> Sequence[Attachment]:
    if name == "relay":
        role = yard.edges.balancer_role.arn
        return [_canary(route, role) for route in yard.edges.smtp.routes.values()]
    if name in _WEB:
        route = yard.edges.web.routes[_WEB[name]]
        return [Attachment(target_group_arn=route.blue.arn, port=route.container_port)]
    return ()


def _canary(route: Route, role_arn: Output[str]) -> Attachment:
    shift = Shift(
        alternate_target_group_arn=route.green.arn,
        production_listener_arn=route.production_listener_arn,
        role_arn=role_arn,
    )
    return Attachment(target_group_arn=route.blue.arn, port=route.container_port, shift=shift)


def _listeners(yard: Yard, name: ServiceName) -> Sequence[Resource]:
    if name == "relay":
        return [*yard.edges.smtp.listeners, yard.edges.balancer_role.attachment]
    return yard.edges.web.listeners if name in _WEB else ()
