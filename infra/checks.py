"""What values of a stack have to do with each other, each problem with key, value, limit and remedy."""

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Network
from typing import Final

from infra import flows
from infra.settings import ServiceName, ServiceSettings, Settings

# GiB. AWS: "Amazon RDS instance types".
DATABASE_MEMORY: Final[Mapping[str, float]] = {
    "db.t4g.micro": 1,
    "db.t4g.small": 2,
    "db.t4g.medium": 4,
    "db.t4g.large": 8,
    "db.m7g.large": 8,
    "db.m7g.xlarge": 16,
    "db.m7g.2xlarge": 32,
    "db.r7g.large": 16,
    "db.r7g.xlarge": 32,
    "db.r7g.2xlarge": 64,
}
# RDS's own default for PostgreSQL is LEAST(DBInstanceClassMemory / 9531392, 5000); what is above that does not fit.
_BYTES_PER_CONNECTION: Final = 9_531_392
_GIB: Final = 1_073_741_824
# PostgreSQL keeps 3 for superusers and RDS 2 for its own; the migration, the renewer and an operator take 6.
RESERVED_CONNECTIONS: Final = 11

# MiB by CPU units. AWS: "Fargate task definition considerations", task CPU and memory.
FARGATE_MEMORY: Final[Mapping[int, tuple[int, ...]]] = {
    256: (512, 1_024, 2_048),
    512: tuple(range(1_024, 4_097, 1_024)),
    1_024: tuple(range(2_048, 8_193, 1_024)),
    2_048: tuple(range(4_096, 16_385, 1_024)),
    4_096: tuple(range(8_192, 30_721, 1_024)),
    8_192: tuple(range(16_384, 61_441, 4_096)),
    16_384: tuple(range(32_768, 122_881, 8_192)),
}

# SQS's counts say what happened a minute ago, so a lease ends before the queue gives the job to another worker.
WORKER_LEASE_SECONDS: Final = 120
PRODUCTION: Final = "prod"


def problems(settings: Settings) -> Iterator[str]:
    """Yields every problem of values that are each right by themselves."""
    for check in _CHECKS:
        yield from check(settings)


def pooled(services: Mapping[ServiceName, ServiceSettings]) -> int:
    """Most connections that all services hold while a release runs both colours of each (SCALE-003)."""
    return 2 * sum(service.max_tasks * service.connections for service in services.values())


def _partition(settings: Settings) -> Iterator[str]:
    if settings.region.startswith(("cn-", "us-gov-", "us-iso")):
        yield (
            f"{settings.project}:region is '{settings.region}'; this program is for the regions of the partition aws, "
            f"which has services that others lack. Run: pulumi config set {settings.project}:region us-east-1"
        )


def _sizes(settings: Settings) -> Iterator[str]:
    project = settings.project
    for service in settings.services.values():
        allowed = FARGATE_MEMORY.get(service.cpu)
        if allowed is None:
            yield (
                f"{project}:{service.name}Cpu is {service.cpu}; Fargate has {', '.join(map(str, FARGATE_MEMORY))}. "
                f"Run: pulumi config set {project}:{service.name}Cpu 512"
            )
        elif service.memory not in allowed:
            nearest = min(allowed, key=lambda size: abs(size - service.memory))
            yield (
                f"{project}:{service.name}Memory is {service.memory}; with {service.cpu} CPU units Fargate has "
                f"{allowed[0]} to {allowed[-1]} MiB in its own steps. "
                f"Run: pulumi config set {project}:{service.name}Memory {nearest}"
            )


def _numbers(settings: Settings) -> Iterator[str]:
    for service in settings.services.values():
        if service.tasks > service.max_tasks:
            yield (
                f"{settings.project}:{service.name}Tasks is {service.tasks}; {service.name}MaxTasks is "
                f"{service.max_tasks}. Run: pulumi config set {settings.project}:{service.name}MaxTasks {service.tasks}"
            )
    for peak in settings.release.prewarm:
        most = settings.services[peak.service].max_tasks
        if peak.tasks > most:
            yield (
                f"{settings.project}:prewarm asks for {peak.tasks} tasks of {peak.service}; {peak.service}MaxTasks is "
                f"{most}. In the stack's file: raise one or lower the other"
            )


def _connections(settings: Settings) -> Iterator[str]:
    database, project = settings.database, settings.project
    fits = int(DATABASE_MEMORY[database.instance_class] * _GIB / _BYTES_PER_CONNECTION)
    if database.max_connections > fits:
        yield (
            f"{project}:databaseMaxConnections is {database.max_connections}; the memory of {database.instance_class} "
            f"is for {fits}. Run: pulumi config set {project}:databaseMaxConnections {fits}, or choose a larger "
            "databaseClass"
        )
    needed = pooled(settings.services) + RESERVED_CONNECTIONS
    if needed > database.max_connections:
        parts = " + ".join(f"{s.name} {s.max_tasks} x {s.connections}" for s in settings.services.values())
        yield (
            f"{project}:databaseMaxConnections is {database.max_connections}; while a release runs, all pools can open "
            f"2 x ({parts}), with {RESERVED_CONNECTIONS} for PostgreSQL, RDS and operators {needed} in all. "
            "In the stack's file: lower a service's Connections or MaxTasks, or raise databaseMaxConnections"
        )


def _storage(settings: Settings) -> Iterator[str]:
    database, project = settings.database, settings.project
    if database.max_storage_gb < database.storage_gb:
        yield (
            f"{project}:databaseMaxStorageGb is {database.max_storage_gb}; databaseStorageGb is {database.storage_gb}. "
            f"Run: pulumi config set {project}:databaseMaxStorageGb {database.storage_gb}"
        )


def _networks(settings: Settings) -> Iterator[str]:
    project, own = settings.project, IPv4Network(settings.network.cidr)
    if not 16 <= own.prefixlen <= 20 or not own.is_private:  # noqa: PLR2004 - the limits are in the words below
        yield (
            f"{project}:cidr is '{own}'; a VPC here is a private network of /16 to /20, which leaves room for three "
            f"subnets in each zone. Run: pulumi config set {project}:cidr 10.40.0.0/16"
        )
    if len(settings.network.zones) < 2:  # noqa: PLR2004 - as above
        yield (
            f"{project}:zones has {len(settings.network.zones)}; load balancers and databases need two or more. "
            "In the stack's file: name more letters, such as [a, b, c]"
        )
    for key in ("smtp", "web"):
        given = settings.network.smtp_networks if key == "smtp" else settings.network.web_networks
        for text in given:
            if text != "0.0.0.0/0" and IPv4Network(text).overlaps(own):
                yield (
                    f"{project}:{key}Networks has {text}; it overlaps {project}:cidr, which is {own}, so "
                    f"its machines cannot be told from those of the stack. Run: pulumi config set {project}:cidr "
                    "with another network"
                )
        if not given:
            yield f"{project}:{key}Networks is empty; nobody could connect. In the stack's file: name a network"


def _queue(settings: Settings) -> Iterator[str]:
    if settings.queue.visibility_seconds < WORKER_LEASE_SECONDS:
        yield (
            f"{settings.project}:queueVisibilitySeconds is {settings.queue.visibility_seconds}; a worker holds a "
            f"delivery for up to {WORKER_LEASE_SECONDS} seconds before it extends it. "
            f"Run: pulumi config set {settings.project}:queueVisibilitySeconds {WORKER_LEASE_SECONDS}"
        )


def _hosts(settings: Settings) -> Iterator[str]:
    names = settings.names
    for key, host in (("smtpHost", names.smtp_host), ("webHost", names.web_host)):
        if not host.endswith(f".{names.zone}"):
            yield (
                f"{settings.project}:{key} is '{host}'; it has to be in {settings.project}:zone, which is "
                f"'{names.zone}'. Run: pulumi config set {settings.project}:{key} smtp.{names.zone}"
            )
    if names.smtp_host == names.web_host:
        yield (
            f"{settings.project}:smtpHost and webHost are both '{names.web_host}'; each has a load balancer of its "
            f"own. Run: pulumi config set {settings.project}:webHost console.{names.zone}"
        )


def _mail(settings: Settings) -> Iterator[str]:
    ses, project = settings.ses, settings.project
    if ses.app_queues and not ses.inbound_domains:
        yield (
            f"{project}:appQueues has {', '.join(ses.app_queues)}; without {project}:inboundDomains no mail would "
            "reach them. In the stack's file: name a domain to receive for, or remove the queues"
        )
    if ses.inbound_domains and not ses.singletons:
        yield (
            f"{project}:inboundDomains has {', '.join(ses.inbound_domains)}; an account and region has one active set "
            f"of receipt rules, and {project}:accountSingletons leaves it to another stack. "
            f"Run: pulumi config set {project}:accountSingletons true, or receive in the other stack"
        )


def _production(settings: Settings) -> Iterator[str]:
    if settings.stack != PRODUCTION:
        return
    for key, wrong in (
        ("protect", not settings.protect),
        ("databaseMultiZone", not settings.database.multi_zone),
        ("acmeDirectory", "staging" in settings.acme.directory),
    ):
        if wrong:
            yield (
                f"{settings.project}:{key} would leave the data or names of production unprotected. "
                f"Run: pulumi config rm {settings.project}:{key}"
            )


_CHECKS: Final[tuple[Callable[[Settings], Iterator[str]], ...]] = (
    _partition,
    _sizes,
    _numbers,
    _connections,
    _storage,
    _networks,
    _queue,
    _hosts,
    _mail,
    _production,
    flows.problems,
)
