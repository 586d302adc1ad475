"""What a stack may choose, as values. Defaults and descriptions are in Pulumi.yaml, limits in `config` and `checks`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Egress = Literal["nat-single", "nat-per-zone", "nat-regional", "public-ip"]
CacheMode = Literal["cluster", "serverless"]
Architecture = Literal["arm64", "x86_64"]
ServiceName = Literal["relay", "worker", "api", "console"]
Role = Literal["relay", "worker", "api", "console", "renewer", "operator", "prepare"]
"""Every kind of task: the services, and what runs once or on a schedule."""


@dataclass(frozen=True, kw_only=True)
class NetworkSettings:
    """Where the stack lives, how it reaches the internet, and who may reach it."""

    cidr: str
    zones: tuple[str, ...]
    """Letters of the availability zones, such as ("a", "b", "c"): names need no look-up in AWS."""
    egress: Egress
    interface_endpoints: tuple[str, ...]
    """Services reached inside the VPC, as in com.amazonaws.REGION.NAME."""
    flow_logs: bool
    smtp_networks: tuple[str, ...]
    web_networks: tuple[str, ...]
    provider_networks: tuple[str, ...]
    """Where workers may send mail to beside the public internet."""


@dataclass(frozen=True, kw_only=True)
class NameSettings:
    """The names in the stack's zone."""

    zone: str
    zone_id: str
    """Empty: the stack makes the zone."""
    smtp_host: str
    web_host: str


@dataclass(frozen=True, kw_only=True)
class DatabaseSettings:
    """PostgreSQL."""

    instance_class: str
    storage_gb: int
    max_storage_gb: int
    multi_zone: bool
    backup_days: int
    max_connections: int
    replica: bool


@dataclass(frozen=True, kw_only=True)
class CacheSettings:
    """Valkey."""

    mode: CacheMode
    node_type: str
    replicas: int


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """The delivery queue."""

    visibility_seconds: int
    retention_days: int
    max_receives: int


@dataclass(frozen=True, kw_only=True)
class ServiceSettings:
    """One service's size and number."""

    name: ServiceName
    cpu: int
    """Units of a 1024th vCPU."""
    memory: int
    """MiB."""
    tasks: int
    max_tasks: int
    connections: int
    """Most connections to PostgreSQL of one task."""


@dataclass(frozen=True, kw_only=True)
class ScheduledTasks:
    """A known peak: from then on a service has at least so many tasks (SCALE-013)."""

    service: ServiceName
    schedule: str
    """As Application Auto Scaling writes it: cron(...), rate(...) or at(...)."""
    timezone: str
    tasks: int


@dataclass(frozen=True, kw_only=True)
class ReleaseSettings:
    """What runs, and how it is put in place."""

    architecture: Architecture
    images: Mapping[str, str]
    """Prebuilt images by room (relay, worker, web), each with its digest; other rooms are built by the program."""
    exec: bool
    spot_workers: bool
    prewarm: tuple[ScheduledTasks, ...]
    predictive_scaling: bool


@dataclass(frozen=True, kw_only=True)
class SesSettings:
    """Amazon SES: what may be sent from and what is received."""

    domains: tuple[str, ...]
    inbound_domains: tuple[str, ...]
    singletons: bool
    """This stack owns what exists once in an account and region, such as the active receipt rule set."""
    app_queues: tuple[str, ...]
    """Names of the applications that get inbound mail, each on a queue of its own."""


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """Logs, alarms and money."""

    log_days: int
    insights: bool
    emails: tuple[str, ...]
    monthly_budget: int
    """US dollars."""


@dataclass(frozen=True, kw_only=True)
class AcmeSettings:
    """The authority that signs the relay's certificate."""

    directory: str
    email: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One stack."""

    project: str
    stack: str
    region: str
    account: str
    tags: Mapping[str, str]
    protect: bool
    customer_key: bool
    key_deletion_days: int
    body_retention_days: int
    waf: bool
    queue: QueueSettings
    network: NetworkSettings
    names: NameSettings
    database: DatabaseSettings
    cache: CacheSettings
    services: Mapping[ServiceName, ServiceSettings]
    release: ReleaseSettings
    ses: SesSettings
    watch: WatchSettings
    acme: AcmeSettings

    @property
    def prefix(self) -> str:
        """What every name begins with."""
        return f"{self.project}-{self.stack}"
