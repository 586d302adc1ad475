"""What alarms, scaling and the dashboard look at: names of resources, and the metrics these have."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pulumi import Input, Output

from infra.readings import MINUTE, Formula, Metric, Reading
from infra.settings import DatabaseSettings, ServiceName, ServiceSettings

# Where backing.emf writes to by default.
NAMESPACE: Final = "SmtpProxy"


@dataclass(frozen=True, kw_only=True)
class EcsService:
    """A service of the cluster, by the names ECS has for both."""

    settings: ServiceSettings
    cluster: Input[str]
    name: Input[str]
    insights: bool
    """Container Insights counts the tasks. Without it each task's sample of CPU use counts for one."""

    def cpu(self) -> Metric:
        """Percent of the CPU that the tasks have, on average over all."""
        return self._ecs("CPUUtilization", "Average")

    def memory(self) -> Metric:
        """Percent of the memory that a task has, of the fullest."""
        return self._ecs("MemoryUtilization", "Maximum")

    def running(self) -> Metric:
        """Tasks that run, of both colours while a release is under way."""
        return self._insights("RunningTaskCount") if self.insights else self._ecs("CPUUtilization", "SampleCount")

    def desired(self) -> Metric:
        """Tasks that the service wants: unlike those that run, not twice as many while a release is under way."""
        return self._insights("DesiredTaskCount") if self.insights else self.running()

    def missing(self) -> Reading:
        """Percent of the wanted tasks that do not run."""
        if self.insights:
            return Formula(
                expression="100 * (1 - running / desired)",
                inputs={"running": self.running(), "desired": self.desired()},
            )
        return Formula(expression=f"100 * (1 - running / {self.settings.tasks})", inputs={"running": self.running()})

    def _ecs(self, name: str, stat: str) -> Metric:
        return Metric(namespace="AWS/ECS", name=name, dimensions=self._dimensions, stat=stat)

    def _insights(self, name: str) -> Metric:
        return Metric(namespace="ECS/ContainerInsights", name=name, dimensions=self._dimensions, stat="Average")

    @property
    def _dimensions(self) -> Mapping[str, Input[str]]:
        return {"ClusterName": self.cluster, "ServiceName": self.name}


@dataclass(frozen=True, kw_only=True)
class Process:
    """A service, or another of the program's tasks, by the name its processes write their own metrics under.

    Stacks of one account and region need namespaces of their own, or they read each other's metrics.
    """

    name: str
    namespace: str

    def own(self, name: str, stat: str, period: int = MINUTE, **labels: str) -> Metric:
        """One of the program's own metrics. A metric with labels is one for each of their values."""
        dimensions = {"service": self.name, **labels}
        return Metric(namespace=self.namespace, name=name, dimensions=dimensions, stat=stat, period=period)


@dataclass(frozen=True, kw_only=True)
class WatchedQueue:
    """A queue and its dead-letter queue, by name."""

    name: Input[str]
    dead_letter_name: Input[str]
    ours: bool = True
    """A worker of this stack empties it; others are emptied by applications, at their own pace."""

    def waiting(self) -> Metric:
        """Messages that nobody has received."""
        return _sqs("ApproximateNumberOfMessagesVisible", self.name)

    def age(self) -> Metric:
        """Seconds since the oldest message was sent."""
        return _sqs("ApproximateAgeOfOldestMessage", self.name)

    def dead(self) -> Metric:
        """Messages that were given up."""
        return _sqs("ApproximateNumberOfMessagesVisible", self.dead_letter_name)


@dataclass(frozen=True, kw_only=True)
class Targets:
    """The two target groups of a service at a balancer, each by the end of its ARN (`arn_suffix`).

    Which one serves changes with each release, so readings take both.
    """

    balancer: Input[str]
    blue: Input[str]
    green: Input[str]

    def each(self, namespace: str, name: str, stat: str, label: str) -> Mapping[str, Metric]:
        """Returns the metric of each group, under identifiers made of the label and the group's colour."""
        return {
            f"{label}_{colour}": Metric(
                namespace=namespace,
                name=name,
                dimensions={"LoadBalancer": self.balancer, "TargetGroup": group},
                stat=stat,
            )
            for colour, group in (("blue", self.blue), ("green", self.green))
        }


@dataclass(frozen=True, kw_only=True)
class Watched:
    """Everything of a stack that is watched."""

    services: Mapping[ServiceName, EcsService]
    queues: Mapping[str, WatchedQueue]
    """By what the queue is for; "delivery" is one of them."""
    smtp: Mapping[int, Targets]
    """By the port that clients connect to."""
    web: Mapping[ServiceName, Targets]
    """Of api and console."""
    nat_gateway_ids: Sequence[Input[str]]
    database: Input[str]
    """Its identifier."""
    database_settings: DatabaseSettings
    cache: Input[str]
    """Its name."""
    cache_nodes: Sequence[Input[str]]
    """The names of its nodes (`cache_nodes`); none where it is serverless."""
    namespace: str = NAMESPACE
    """Of the program's own metrics."""

    def process(self, name: str) -> Process:
        """Returns where a service's processes write their own metrics."""
        return Process(name=name, namespace=self.namespace)


def total(parts: Mapping[str, Metric]) -> Formula:
    """Returns the sum; what reports nothing counts as 0."""
    return Formula(expression=summed(parts), inputs=parts)


def summed(parts: Mapping[str, Metric]) -> str:
    """Returns the sum as metric math."""
    return " + ".join(f"FILL({name}, 0)" for name in parts)


def share(part: Mapping[str, Metric], whole: Mapping[str, Metric], at_least: int) -> Formula:
    """Returns the part in percent of the whole, or 0 while the whole is too small to tell anything."""
    everything = f"({summed(whole)})"
    return Formula(
        expression=f"IF({everything} > {at_least}, 100 * ({summed(part)}) / {everything}, 0)",
        inputs={**whole, **part},
    )


def cache_nodes(name: Input[str], replicas: int) -> list[Input[str]]:
    """Returns the names ElastiCache gives the nodes of a cluster with one shard."""
    ends = [f"-0001-{number:03}" for number in range(1, replicas + 2)]
    return [name + end if isinstance(name, str) else Output.concat(name, end) for end in ends]


def _sqs(name: str, queue: Input[str]) -> Metric:
    return Metric(namespace="AWS/SQS", name=name, dimensions={"QueueName": queue}, stat="Maximum")
