"""Runs a task to its end before services roll: brings the schema to where the new code needs it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pulumi
from pulumi import Input, Output, Resource, ResourceOptions, dynamic

from infra.container import STREAM_PREFIX
from infra.placement import Placement
from infra.task import CONTAINER

_LOOK_SECONDS: Final = 5.0
_LINES: Final = 30
_MAX_SECONDS: Final = 1_800


class TaskFailed(Exception):  # noqa: N818 - a fact about a task
    """A task did not start, or did not end well; says why, and what it said last."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """A task to run, with what ECS has to know for it."""

    cluster: str
    task_definition: str
    subnets: Sequence[str]
    security_group: str
    public_ip: bool
    log_group: str


class Runner:
    """Runs a task and waits for its end.

    Args:
        ecs: a client of ECS.
        logs: a client of CloudWatch Logs.
        clock: seconds, as `time.monotonic`.
        sleep: waits so many seconds.
        patience_seconds: longest wait for the end of the task; after it the task is stopped.
    """

    def __init__(
        self,
        ecs: Any,
        logs: Any,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        patience_seconds: float = _MAX_SECONDS,
    ) -> None:
        self._ecs, self._logs = ecs, logs
        self._clock, self._sleep = clock, sleep
        self._patience_seconds = patience_seconds

    def run(self, order: Order) -> str:
        """Runs the task, and returns its ARN once it has ended with 0.

        Raises:
            TaskFailed: it did not.
        """
        task = self._start(order)
        ended = self._ended(order, task)
        (container,) = [each for each in ended["containers"] if each["name"] == CONTAINER]
        code = container.get("exitCode")
        if code != 0:
            why = container.get("reason") or ended.get("stoppedReason") or "no reason given"
            what = "did not start" if code is None else f"ended with {code}"
            raise TaskFailed(f"task {task} {what}: {why}{self._said(order, task)}")
        return task

    def _start(self, order: Order) -> str:
        answer = self._ecs.run_task(
            cluster=order.cluster,
            taskDefinition=order.task_definition,
            count=1,
            launchType="FARGATE",
            startedBy="pulumi",
            enableECSManagedTags=True,
            propagateTags="TASK_DEFINITION",
            networkConfiguration={
                "awsvpcConfiguration": {
                    "subnets": list(order.subnets),
                    "securityGroups": [order.security_group],
                    "assignPublicIp": "ENABLED" if order.public_ip else "DISABLED",
                }
            },
        )
        if answer["failures"] or not answer["tasks"]:
            reasons = ", ".join(str(each.get("reason")) for each in answer["failures"]) or "ECS gave no reason"
            raise TaskFailed(f"no task of {order.task_definition} was started: {reasons}")
        return str(answer["tasks"][0]["taskArn"])

    def _ended(self, order: Order, task: str) -> Mapping[str, Any]:
        latest = self._clock() + self._patience_seconds
        while True:
            # A task that was started a moment ago may not be known yet.
            for found in self._ecs.describe_tasks(cluster=order.cluster, tasks=[task])["tasks"]:
                if found["lastStatus"] == "STOPPED":
                    return found
            if self._clock() >= latest:
                self._ecs.stop_task(cluster=order.cluster, task=task, reason="not done in time")
                raise TaskFailed(f"task {task} was stopped after {self._patience_seconds:g} s{self._said(order, task)}")
            self._sleep(_LOOK_SECONDS)

    def _said(self, order: Order, task: str) -> str:
        stream = f"{STREAM_PREFIX}/{CONTAINER}/{task.rpartition('/')[2]}"
        try:
            events = self._logs.get_log_events(
                logGroupName=order.log_group, logStreamName=stream, limit=_LINES, startFromHead=False
            )["events"]
        except self._logs.exceptions.ResourceNotFoundException:
            return "; it wrote no log"
        return "".join(f"\n  {event['message']}" for event in events) or "; its log is empty"


class _Provider(dynamic.ResourceProvider):
    """Runs the task when the resource is made, and whenever its task definition is another."""

    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        return dynamic.CreateResult(id_="prepared", outs={**props, "task": _run(props)})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.DiffResult:
        return dynamic.DiffResult(changes=_olds["task_definition"] != _news["task_definition"])

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.UpdateResult:
        return dynamic.UpdateResult(outs={**_news, "task": _run(_news)})


def _run(props: Mapping[str, Any]) -> str:
    import boto3  # noqa: PLC0415 - Pulumi carries the provider to a process of its own

    session: Any = boto3.Session(region_name=props["region"])
    order = Order(**{field: props[field] for field in Order.__dataclass_fields__})
    return Runner(session.client("ecs"), session.client("logs")).run(order)


class _Run(dynamic.Resource, module="smtp-proxy", name="Run"):
    """The run as Pulumi keeps it."""

    task: Output[str]

    def __init__(self, name: str, props: Mapping[str, Any], opts: ResourceOptions) -> None:
        super().__init__(_Provider(), name, {**props, "task": None}, opts)


@dataclass(frozen=True, kw_only=True)
class PrepareArgs:
    """The task to run, and where."""

    task_definition_arn: Input[str]
    log_group_name: Input[str]
    placement: Placement
    region: str
    after: Sequence[Resource] = ()
    """What has to be there first: the ways out, the rules of the firewall, and what the roles may do."""


class Prepare(pulumi.ComponentResource):
    """Declares that the task has run with this very definition; services that depend on it roll afterwards.

    It runs as whoever runs `pulumi up`, who needs ecs:RunTask, ecs:DescribeTasks, ecs:StopTask, logs:GetLogEvents and
    iam:PassRole for it, and holds boto3 credentials.
    """

    run: pulumi.Resource

    def __init__(self, name: str, args: PrepareArgs, opts: ResourceOptions | None = None) -> None:
        super().__init__("smtp-proxy:prepare:Prepare", name, None, opts)
        place = args.placement
        self.run = _Run(
            name,
            {
                "region": args.region,
                "cluster": place.cluster_arn,
                "task_definition": args.task_definition_arn,
                "subnets": list(place.subnet_ids),
                "security_group": place.security_group_id,
                "public_ip": place.public_ip,
                "log_group": args.log_group_name,
            },
            ResourceOptions(parent=self, depends_on=list(args.after)),
        )
        self.register_outputs({})
