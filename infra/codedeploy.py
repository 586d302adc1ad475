"""Puts a task definition in place of another through CodeDeploy, and waits until it is known how that went."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

POLL_SECONDS: Final = 10
_SECONDS: Final = 60
# CodeDeploy's words (GetDeployment). A deployment is over only once the old tasks are gone, too.
_UNDER_WAY: Final = ("Created", "Queued", "InProgress", "Baking", "Ready")
_SUCCEEDED: Final = "Succeeded"
_PUBLIC: Final = {True: "ENABLED", False: "DISABLED"}


class RolloutError(Exception):
    """A revision is not in place; says which deployment, why, and what to do."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """The revision that has to serve, the service, and how long a deployment of it may take."""

    application: str
    group: str
    cluster_arn: str
    service: str
    task_definition_arn: str
    container: str
    port: int
    subnets: Sequence[str]
    security_group: str
    public_ip: bool
    platform: str
    """Version of Fargate."""
    limit_minutes: int

    @property
    def place(self) -> str:
        """What CodeDeploy's console calls the place of the deployment."""
        return f"{self.application}/{self.group}"


class Clock(Protocol):
    """Time that passes, in seconds."""

    def now(self) -> float:
        """Returns a time that never goes back."""
        ...

    def pause(self, seconds: float) -> None:
        """Lets time pass."""
        ...


class Steady:
    """The machine's own clock."""

    def now(self) -> float:
        """Returns a time that never goes back."""
        return time.monotonic()

    def pause(self, seconds: float) -> None:
        """Lets time pass."""
        time.sleep(seconds)


def app_spec(wanted: Wanted) -> str:
    """Returns the revision in CodeDeploy's words (AppSpec file structure for Amazon ECS deployments)."""
    properties = {
        "TaskDefinition": wanted.task_definition_arn,
        "LoadBalancerInfo": {"ContainerName": wanted.container, "ContainerPort": wanted.port},
        # Without these the new tasks would be where the old ones are, whatever the service says.
        "PlatformVersion": wanted.platform,
        "NetworkConfiguration": {
            "AwsvpcConfiguration": {
                "Subnets": list(wanted.subnets),
                "SecurityGroups": [wanted.security_group],
                "AssignPublicIp": _PUBLIC[wanted.public_ip],
            }
        },
    }
    service = {"Type": "AWS::ECS::Service", "Properties": properties}
    return json.dumps({"version": 0.0, "Resources": [{"TargetService": service}]})


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """One attempt; the clients are boto3's."""

    wanted: Wanted
    codedeploy: Any
    ecs: Any
    clock: Clock

    def run(self) -> str:
        """Returns the deployment that put the revision in place, or nothing where it was in place already.

        A deployment that is under way is waited for first, whoever started it: CodeDeploy runs one at a time, and it
        may be the wanted one, left by a run that was interrupted. All waiting together has the one time limit.
        """
        end = self.clock.now() + self.wanted.limit_minutes * _SECONDS
        while earlier := self._under_way():
            self._wait(earlier, end)
        if _is(self.wanted, self._serving()):
            return ""
        deployment = self._start()
        info = self._wait(deployment, end)
        if info["status"] != _SUCCEEDED:
            raise RolloutError(_failure(self.wanted, info))
        return deployment

    def _under_way(self) -> str:
        answer = self.codedeploy.list_deployments(
            applicationName=self.wanted.application,
            deploymentGroupName=self.wanted.group,
            includeOnlyStatuses=list(_UNDER_WAY),
        )
        return next(iter(answer["deployments"]), "")

    def _serving(self) -> Mapping[str, Any]:
        answer = self.ecs.describe_services(cluster=self.wanted.cluster_arn, services=[self.wanted.service])
        services = [service for service in answer["services"] if service["status"] == "ACTIVE"]
        if not services:
            raise RolloutError(
                f"{self.wanted.cluster_arn} has no active service '{self.wanted.service}', so "
                f"{self.wanted.task_definition_arn} cannot be released to it. "
                "Run: pulumi refresh, then pulumi up, which makes the service again"
            )
        # With CodeDeploy it is the primary task set that serves; the service itself keeps what it was made with.
        sets = [one for one in services[0].get("taskSets", []) if one["status"] == "PRIMARY"]
        return next(iter(sets), services[0])

    def _start(self) -> str:
        try:
            answer = self.codedeploy.create_deployment(
                applicationName=self.wanted.application,
                deploymentGroupName=self.wanted.group,
                revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": app_spec(self.wanted)}},
                description="pulumi up",
            )
        except self.codedeploy.exceptions.DeploymentLimitExceededException as error:
            raise RolloutError(
                f"{self.wanted.place} would not take {self.wanted.task_definition_arn}, another deployment began just "
                f"now: {error}. When it is over, run pulumi up again"
            ) from error
        return answer["deploymentId"]

    def _wait(self, deployment: str, end: float) -> Any:
        while (info := self._info(deployment))["status"] in _UNDER_WAY:
            if self.clock.now() >= end:
                raise RolloutError(_timeout(self.wanted, info))
            self.clock.pause(POLL_SECONDS)
        return info

    def _info(self, deployment: str) -> Any:
        return self.codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]


def _is(wanted: Wanted, serving: Mapping[str, Any]) -> bool:
    """Says whether a task set, or a service that has none yet, is what is wanted."""
    network = serving.get("networkConfiguration", {}).get("awsvpcConfiguration", {})
    found = (
        serving["taskDefinition"],
        serving.get("platformVersion"),
        set(network.get("subnets", [])),
        network.get("securityGroups"),
        network.get("assignPublicIp", _PUBLIC[False]),
    )
    return found == (
        wanted.task_definition_arn,
        wanted.platform,
        set(wanted.subnets),
        [wanted.security_group],
        _PUBLIC[wanted.public_ip],
    )


def _timeout(wanted: Wanted, info: Any) -> str:
    deployment = info["deploymentId"]
    return (
        f"deployment {deployment} of {wanted.place} is {info['status']} after {wanted.limit_minutes} minutes, and "
        f"{wanted.task_definition_arn} waits for it. It goes on by itself; when it is over, run pulumi up again. "
        f"To give it up: aws deploy stop-deployment --deployment-id {deployment} --auto-rollback-enabled"
    )


def _failure(wanted: Wanted, info: Any) -> str:
    deployment, error, rollback = info["deploymentId"], info.get("errorInformation", {}), info.get("rollbackInfo", {})
    reason = f"{error.get('code', 'no code')}: {error.get('message', 'CodeDeploy gives no reason')}"
    back = rollback.get("rollbackDeploymentId")
    return (
        f"deployment {deployment} of {wanted.place} did not put {wanted.task_definition_arn} in place. "
        f"Status {info['status']}, {reason.rstrip('.')}. "
        + (f"CodeDeploy went back to the revision before, in deployment {back}. " if back else "")
        + f"See: aws deploy get-deployment --deployment-id {deployment}, and the log of the new tasks of service "
        f"{wanted.service}. Then mend the revision and run pulumi up again"
    )
