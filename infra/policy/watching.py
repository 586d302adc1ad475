"""Logs that are kept, alarms that reach somebody, tags that say whose it is."""

from collections.abc import Iterator
from typing import Final

from infra.policy import kinds
from infra.policy.model import Resource, Rule, World, unless, unless_in
from infra.values import mapping, nested, parsed

TAGS: Final = ("Project", "Stack", "ManagedBy")


def _flows_recorded(vpc: Resource, world: World) -> bool:
    return any(log.get("trafficType") == "ALL" for log in world.pointing(kinds.FLOW_LOG, "vpcId", vpc))


def _reaches_somebody(alarm: Resource, world: World) -> bool:
    """An alarm acts by itself, or through a release, a scaling policy or another alarm that looks at it."""
    # A dashboard shows every alarm, and wakes nobody.
    looking = [one for one in world.mentions(alarm) if one.type != kinds.DASHBOARD]
    return alarm.get("actionsEnabled") is not False and bool(alarm.get("alarmActions") or looking)


def _subscribed(topic: Resource, world: World) -> bool:
    alarms = world.pointing(kinds.ACTION_ALARM, "alarmActions", topic)
    return not alarms or bool(world.pointing(kinds.SUBSCRIPTION, "topic", topic))


def _untagged(provider: Resource, _world: World) -> Iterator[str]:
    # Providers take their properties as texts in JSON.
    given = provider.get("defaultTags")
    tags = mapping(nested(parsed(given) or given, "tags"))
    yield from (name for name in TAGS if not tags.get(name))


def _access_logged(balancer: Resource) -> bool:
    # A network load balancer logs only what it decrypts itself, which is nothing here.
    return balancer.get("loadBalancerType") == "network" or balancer.get("accessLogs", "enabled") is True


RULES: Final = (
    Rule(
        name="log-retention",
        severity="medium",
        kinds=(kinds.LOG_GROUP,),
        message="the log is kept for ever",
        remedy="Set retention_in_days; the setting is `logDays`.",
        check=unless(lambda group: (group.get("retentionInDays") or 0) > 0),
    ),
    Rule(
        name="balancer-access-logs",
        severity="medium",
        kinds=(kinds.LOAD_BALANCER,),
        message="nobody knows who came",
        remedy="Set access_logs with a bucket and enabled=True.",
        check=unless(_access_logged),
    ),
    Rule(
        name="vpc-flow-logs",
        severity="medium",
        kinds=(kinds.VPC,),
        message="connections in the VPC of production are not recorded",
        remedy='Add a FlowLog with traffic_type="ALL"; the setting is `flowLogs`.',
        check=unless_in(_flows_recorded),
        whole=True,
        production=True,
    ),
    Rule(
        name="alarm-acts",
        severity="medium",
        kinds=(kinds.ACTION_ALARM,),
        message="the alarm tells nobody",
        remedy="Set alarm_actions to the topic of alarms.",
        check=unless_in(_reaches_somebody),
        whole=True,
    ),
    Rule(
        name="alarm-missing-data",
        severity="low",
        kinds=(kinds.ACTION_ALARM,),
        message="nobody says what silence means",
        remedy="Set treat_missing_data.",
        check=unless(lambda alarm: alarm.get("treatMissingData")),
    ),
    Rule(
        name="topic-subscribed",
        severity="medium",
        kinds=(kinds.TOPIC,),
        message="alarms of production are sent to a topic that nobody reads",
        remedy="Set alarmEmails.",
        check=unless_in(_subscribed),
        whole=True,
        production=True,
    ),
    Rule(
        name="database-logs",
        severity="low",
        kinds=(kinds.DATABASE,),
        message="the database's log stays on its disk",
        remedy='Set enabled_cloudwatch_logs_exports=["postgresql"].',
        check=unless(lambda one: "postgresql" in one.items("enabledCloudwatchLogsExports")),
    ),
    Rule(
        name="provider-tags",
        severity="medium",
        kinds=(kinds.PROVIDER,),
        message="resources do not say whose they are",
        remedy=f"Set default_tags with {', '.join(TAGS)} on the provider.",
        check=_untagged,
    ),
)
