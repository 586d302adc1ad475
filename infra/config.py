"""Reads what a stack may choose, held against AWS's limits before AWS is asked. Defaults are in Pulumi.yaml."""

import json
import re
from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import cast

import pulumi
from pulumi.runtime import config as runtime_config

from infra import checks, limits
from infra.reader import Reader
from infra.settings import (
    AcmeSettings,
    Architecture,
    CacheMode,
    CacheSettings,
    DatabaseSettings,
    Egress,
    NameSettings,
    NetworkSettings,
    QueueSettings,
    ReleaseSettings,
    ScheduledTasks,
    ServiceName,
    ServiceSettings,
    SesSettings,
    Settings,
    WatchSettings,
)

SERVICES: tuple[ServiceName, ...] = ("relay", "worker", "api", "console")
ROOMS = ("relay", "worker", "web")


def load() -> Settings:
    """Reads the configuration Pulumi was started with."""
    values: dict[str, str] = runtime_config.get_config_env() | runtime_config.CONFIG.get()
    return read(pulumi.get_project(), pulumi.get_stack(), values)


def read(project: str, stack: str, values: Mapping[str, str]) -> Settings:
    """Makes settings of the values, or raises one ConfigError that names every problem."""
    reader = Reader(project, values)
    if not limits.STACK.fullmatch(stack):
        reader.report(
            f"the stack is named {stack!r}; the names of buckets allow 1 to 16 lower-case letters, digits and hyphens, "
            "a letter first. Run: pulumi stack rename NAME"
        )
    names = _names(reader)
    settings = Settings(
        project=project,
        stack=stack,
        region=reader.one_of("region", limits.REGION),
        account=reader.matching("account", limits.ACCOUNT),
        tags={"Project": project, "Stack": stack, "ManagedBy": "pulumi", **_tags(reader)},
        protect=reader.boolean("protect"),
        customer_key=reader.boolean("customerKey"),
        key_deletion_days=reader.integer("keyDeletionDays", limits.KEY_DELETION),
        body_retention_days=reader.integer("bodyRetentionDays", limits.BODY_RETENTION),
        waf=reader.boolean("waf"),
        queue=QueueSettings(
            visibility_seconds=reader.integer("queueVisibilitySeconds", limits.VISIBILITY),
            retention_days=reader.integer("queueRetentionDays", limits.RETENTION),
            max_receives=reader.integer("queueMaxReceives", limits.RECEIVES),
        ),
        network=_network(reader),
        names=names,
        database=_database(reader),
        cache=CacheSettings(
            mode=cast("CacheMode", reader.one_of("cacheMode", limits.CACHE_MODE)),
            node_type=reader.matching("cacheNodeType", limits.NODE),
            replicas=reader.integer("cacheReplicas", limits.REPLICAS),
        ),
        services={name: _service(reader, name) for name in SERVICES},
        release=_release(reader),
        ses=_ses(reader, names.zone),
        watch=_watch(reader),
        acme=AcmeSettings(
            directory=reader.matching("acmeDirectory", limits.DIRECTORY),
            email=reader.matching("acmeEmail", limits.ADDRESS_OR_NONE),
        ),
    )
    reader.finish(stack, lambda: checks.problems(settings))
    return settings


def _names(reader: Reader) -> NameSettings:
    zone = reader.matching("zone", limits.ZONE)
    return NameSettings(
        zone=zone,
        zone_id=reader.matching("zoneId", limits.ZONE_ID),
        smtp_host=reader.matching("smtpHost", limits.HOST_OR_NONE) or f"smtp.{zone}",
        web_host=reader.matching("webHost", limits.HOST_OR_NONE) or f"console.{zone}",
    )


def _network(reader: Reader) -> NetworkSettings:
    return NetworkSettings(
        cidr=str(reader.network("cidr")),
        zones=reader.texts("zones", limits.ZONE_LETTER, "a zone is a letter from a to f", "a"),
        egress=cast("Egress", reader.one_of("egress", limits.EGRESS)),
        interface_endpoints=reader.texts(
            "interfaceEndpoints", limits.ENDPOINT, "a service is written as in sqs", "sqs"
        ),
        flow_logs=reader.boolean("flowLogs"),
        smtp_networks=_open_to(reader, "smtpNetworks"),
        web_networks=_open_to(reader, "webNetworks"),
        provider_networks=_open_to(reader, "providerNetworks"),
    )


def _open_to(reader: Reader, key: str) -> tuple[str, ...]:
    found = reader.texts(key, re.compile(r"\S+"), "a network is written as in 10.0.0.0/8", "10.0.0.0/8")
    return tuple(text for text in found if _is_network(reader, key, text))


def _is_network(reader: Reader, key: str, text: str) -> bool:
    try:
        IPv4Network(text)
    except ValueError as fault:
        reader.refuse(key, text, f"it is no IPv4 network ({fault})", "write networks as in 10.0.0.0/8")
        return False
    return True


def _database(reader: Reader) -> DatabaseSettings:
    return DatabaseSettings(
        instance_class=reader.one_of("databaseClass", limits.DATABASE_CLASS),
        storage_gb=reader.integer("databaseStorageGb", limits.STORAGE),
        max_storage_gb=reader.integer("databaseMaxStorageGb", limits.STORAGE),
        multi_zone=reader.boolean("databaseMultiZone"),
        backup_days=reader.integer("databaseBackupDays", limits.BACKUP),
        max_connections=reader.integer("databaseMaxConnections", limits.CONNECTIONS),
        replica=reader.boolean("databaseReplica"),
    )


def _service(reader: Reader, name: ServiceName) -> ServiceSettings:
    return ServiceSettings(
        name=name,
        cpu=reader.integer(f"{name}Cpu", limits.CPU),
        memory=reader.integer(f"{name}Memory", limits.MEMORY),
        tasks=reader.integer(f"{name}Tasks", limits.TASKS),
        max_tasks=reader.integer(f"{name}MaxTasks", limits.TASKS),
        connections=reader.integer(f"{name}Connections", limits.POOL),
    )


def _release(reader: Reader) -> ReleaseSettings:
    images = reader.mapping("images")
    for room, image in images.items():
        shown = json.dumps({room: image})
        if room not in ROOMS:
            reader.refuse("images", shown, f"there are images of {', '.join(ROOMS)}", f"remove {room}")
        elif not limits.DIGEST.fullmatch(image):
            reader.refuse("images", shown, "an image is pinned by its digest", "write REPOSITORY@sha256:DIGEST")
    return ReleaseSettings(
        architecture=cast("Architecture", reader.one_of("architecture", limits.ARCHITECTURE)),
        images=images,
        exec=reader.boolean("exec"),
        spot_workers=reader.boolean("spotWorkers"),
        prewarm=tuple(_peak(reader, entry) for entry in reader.objects("prewarm")),
        predictive_scaling=reader.boolean("predictiveScaling"),
    )


def _peak(reader: Reader, entry: Mapping[str, object]) -> ScheduledTasks:
    found = {"timezone": "UTC", "tasks": 1, **entry}
    service, schedule, tasks = found.get("service"), found.get("schedule"), found["tasks"]
    shown = json.dumps(entry)
    if set(found) != limits.PEAK:
        reader.refuse(
            "prewarm", shown, f"a peak has {', '.join(sorted(limits.PEAK))} and nothing else", "correct its keys"
        )
    if service not in SERVICES:
        reader.refuse("prewarm", shown, f"services are {', '.join(SERVICES)}", "name one of them as its service")
    if not isinstance(schedule, str) or not limits.SCHEDULE.fullmatch(schedule):
        reader.refuse("prewarm", shown, "a schedule is cron(...), rate(...) or at(...)", "correct its schedule")
    if not isinstance(tasks, int) or isinstance(tasks, bool) or not 1 <= tasks <= limits.TASKS.high:
        reader.refuse("prewarm", shown, f"tasks are 1 to {limits.TASKS.high}", "correct its tasks")
        tasks = 1
    return ScheduledTasks(
        service=cast("ServiceName", service), schedule=str(schedule), timezone=str(found["timezone"]), tasks=tasks
    )


def _ses(reader: Reader, zone: str) -> SesSettings:
    return SesSettings(
        domains=_domains(reader, "sesDomains") or (zone,),
        inbound_domains=_domains(reader, "inboundDomains"),
        singletons=reader.boolean("accountSingletons"),
        app_queues=reader.texts("appQueues", limits.APP, "an application has up to 40 a-z, 0-9 and hyphens", "orders"),
    )


def _domains(reader: Reader, key: str) -> tuple[str, ...]:
    return reader.texts(key, limits.NAME, limits.HOST.why, "example.com")


def _watch(reader: Reader) -> WatchSettings:
    return WatchSettings(
        log_days=int(reader.one_of("logDays", limits.LOG_DAYS) or 0),
        insights=reader.boolean("containerInsights"),
        emails=reader.texts("alarmEmails", limits.ADDRESS, limits.ADDRESS_OR_NONE.why, limits.ADDRESS_OR_NONE.example),
        monthly_budget=reader.integer("monthlyBudget", limits.BUDGET),
    )


def _tags(reader: Reader) -> Mapping[str, str]:
    tags = reader.mapping("tags")
    if len(tags) > limits.TAGS_LIMIT:
        reader.refuse(
            "tags", f"{len(tags)} tags", f"AWS allows 50, of which {len(limits.OWN_TAGS)} are ours", "remove some"
        )
    for key, value in tags.items():
        shown = json.dumps({key: value})
        if key in limits.OWN_TAGS:
            reader.refuse("tags", shown, f"{', '.join(limits.OWN_TAGS)} are set by the stack", f"remove {key}")
        if not limits.TAG_KEY.fullmatch(key):
            reader.refuse(
                "tags",
                shown,
                'AWS allows keys of 1 to 128 letters, digits, spaces and .:/=+@-_, not "aws:"',
                "rename it",
            )
        if not limits.TAG_VALUE.fullmatch(value):
            reader.refuse(
                "tags", shown, "AWS allows values of up to 256 letters, digits, spaces and .:/=+@-_", "change the value"
            )
    return tags
