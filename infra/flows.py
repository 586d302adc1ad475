"""Who may connect to whom, as one table. Everything else is closed."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from infra.environment import HEALTH_PORT, WEB_PORT
from infra.settings import Settings
from infra.subnets import ANYWHERE

INTERNET: Final = "internet"

GROUPS: Final[Mapping[str, str]] = {
    "smtp-balancer": "Load balancer of the SMTP endpoint",
    "web-balancer": "Load balancer of the API and the console",
    "relay": "Tasks that take mail in",
    "worker": "Tasks that send mail out",
    "api": "Tasks of the API",
    "console": "Tasks of the console",
    "renewer": "Task that renews the certificate of the SMTP endpoint",
    "operator": "Tasks that an operator or a release runs once",
    "database": "PostgreSQL",
    "cache": "Valkey",
    "endpoints": "Interface endpoints of AWS services",
}
"""Names of groups with their descriptions; AWS replaces a group whose description changes, and so never change one."""

SMTP_PORTS: Final[Mapping[int, int]] = {587: 2587, 465: 2465}
"""Ports of the SMTP endpoint, and where its tasks listen: not below 1024, since they do not run as root."""
TEST_PORT: Final = 8443
"""Where a release is tried before it gets requests."""
DATABASE_PORT: Final = 5432
CACHE_PORT: Final = 6379
CACHE_READER_PORT: Final = 6380
# AWS closes port 25 to the internet, and providers' own ports do what it was for.
PROVIDER_PORTS: Final = (465, 587, 2465, 2525, 2587)

GATEWAY_SERVICES: Final = ("s3", "dynamodb")
"""What every stack reaches through gateway endpoints, which cost nothing and need no group."""

_TASKS: Final = ("relay", "worker", "api", "console", "renewer", "operator")
_ON_DATABASE: Final = ("relay", "worker", "api", "console", "operator")
# The operator too: what is changed by hand is told to the services, and transcripts come, through the cache.
_ON_CACHE: Final = ("relay", "worker", "api", "console", "operator")
# AWS: "Amazon VPC quotas", inbound or outbound rules per security group.
_MOST_RULES: Final = 60


@dataclass(frozen=True, kw_only=True)
class Flow:
    """Connections of one kind: source and target are names of GROUPS, INTERNET, or networks such as 10.0.0.0/8."""

    source: str
    target: str
    ports: tuple[int, ...]
    why: str
    """Also the description of its rules."""
    protocol: str = "tcp"


def flows(settings: Settings) -> tuple[Flow, ...]:
    """Returns every flow of a stack. Answers belong to their connections and need none; nor does DNS in the VPC."""
    return (*_of_clients(settings), *_of_balancers(), *_of_tasks(settings))


def table(settings: Settings) -> list[tuple[str, str, str, str]]:
    """Returns the flows as rows of source, target, ports and reason, for people."""
    return [
        (flow.source, flow.target, ", ".join(f"{flow.protocol}/{port}" for port in flow.ports), flow.why)
        for flow in flows(settings)
    ]


def problems(settings: Settings) -> Iterator[str]:
    """Yields what AWS would refuse of the network, or bill for nothing."""
    yield from _crowded(settings)
    for service in settings.network.interface_endpoints:
        if service in GATEWAY_SERVICES:
            yield (
                f"{settings.project}:interfaceEndpoints has {service}; the stack reaches it through a gateway "
                f"endpoint, which costs nothing. In the stack's file: remove {service}"
            )


def address(end: str) -> str | None:
    """Returns the network that an end of a flow stands for, or None where it is a group."""
    return None if end in GROUPS else ANYWHERE if end == INTERNET else end


def _crowded(settings: Settings) -> Iterator[str]:
    rules: Counter[tuple[str, str]] = Counter()
    for flow in flows(settings):
        rules[flow.source, "outbound"] += len(flow.ports)
        rules[flow.target, "inbound"] += len(flow.ports)
    for group, key in (("smtp-balancer", "smtpNetworks"), ("web-balancer", "webNetworks")):
        if rules[group, "inbound"] > _MOST_RULES:
            yield (
                f"{settings.project}:{key} makes {rules[group, 'inbound']} rules, one for each network and port; AWS "
                f"allows a security group {_MOST_RULES}. In the stack's file: write fewer and wider networks"
            )


def _of_clients(settings: Settings) -> Iterator[Flow]:
    network = settings.network
    for source in map(_named, network.smtp_networks):
        yield Flow(source=source, target="smtp-balancer", ports=tuple(SMTP_PORTS), why="clients hand in mail")
    for source in map(_named, network.web_networks):
        yield Flow(source=source, target="web-balancer", ports=(80, 443), why="browsers and programs; 80 redirects")
    yield Flow(source=network.cidr, target="web-balancer", ports=(TEST_PORT,), why="tries a release before it is out")


def _of_balancers() -> Iterator[Flow]:
    smtp = tuple(SMTP_PORTS.values())
    yield Flow(source="smtp-balancer", target="relay", ports=smtp, why="SMTP sessions")
    yield Flow(source="smtp-balancer", target="relay", ports=(HEALTH_PORT,), why="health checks")
    for target in ("api", "console"):
        yield Flow(source="web-balancer", target=target, ports=(WEB_PORT,), why="requests and health checks")


def _of_tasks(settings: Settings) -> Iterator[Flow]:
    for source in _ON_DATABASE:
        yield Flow(source=source, target="database", ports=(DATABASE_PORT,), why="PostgreSQL over TLS")
    for source in _ON_CACHE:
        yield Flow(source=source, target="cache", ports=_cache_ports(settings), why="Valkey over TLS")
    for source in _TASKS:
        yield Flow(source=source, target=INTERNET, ports=(443,), why="AWS APIs and HTTPS of others")
    yield Flow(source="worker", target=INTERNET, ports=PROVIDER_PORTS, why="SMTP of delivery providers")
    if settings.network.interface_endpoints:
        for source in _TASKS:
            yield Flow(source=source, target="endpoints", ports=(443,), why="AWS APIs inside the VPC")


def _cache_ports(settings: Settings) -> tuple[int, ...]:
    # A serverless cache answers reads at a port of its own.
    return (CACHE_PORT, CACHE_READER_PORT) if settings.cache.mode == "serverless" else (CACHE_PORT,)


def _named(network: str) -> str:
    return INTERNET if network == ANYWHERE else network
