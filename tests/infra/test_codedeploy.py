import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import boto3
import pytest
from botocore.stub import ANY, Stubber

from infra.codedeploy import Rollout, RolloutError, Wanted, app_spec

OLD, NEW = (f"arn:aws:ecs:us-east-1:1:task-definition/api:{revision}" for revision in (7, 8))
CLUSTER = "arn:aws:ecs:us-east-1:1:cluster/main"
WANTED = Wanted(
    application="api-app",
    group="api-group",
    cluster_arn=CLUSTER,
    service="api",
    task_definition_arn=NEW,
    container="api",
    port=8080,
    subnets=["subnet-a", "subnet-b"],
    security_group="sg-api",
    public_ip=False,
    platform="1.4.0",
    limit_minutes=30,
)

# Where tasks are, as ECS says it; in which order is its own affair.
THERE: dict[str, Any] = {
    "platformVersion": "1.4.0",
    "networkConfiguration": {
        "awsvpcConfiguration": {
            "subnets": ["subnet-b", "subnet-a"],
            "securityGroups": ["sg-api"],
            "assignPublicIp": "DISABLED",
        }
    },
}


class Hands:
    """A clock that somebody else moves."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def now(self) -> float:
        return self.time

    def pause(self, seconds: float) -> None:
        self.time += seconds


class Aws:
    """CodeDeploy and ECS by a script that botocore holds against their models: each call, in order, and no other."""

    def __init__(self) -> None:
        session: Any = cast("Any", boto3).session.Session("AKIAEXAMPLE", "secret", region_name="us-east-1")
        self.codedeploy, self.ecs, self.clock = session.client("codedeploy"), session.client("ecs"), Hands()
        self._deploy, self._service = Stubber(self.codedeploy), Stubber(self.ecs)
        self._deploy.activate()
        self._service.activate()

    def under_way(self, *deployments: str) -> "Aws":
        asked = {
            "applicationName": "api-app",
            "deploymentGroupName": "api-group",
            "includeOnlyStatuses": ["Created", "Queued", "InProgress", "Baking", "Ready"],
        }
        self._deploy.add_response("list_deployments", {"deployments": list(deployments)}, asked)
        return self

    def is_(self, deployment: str, status: str, times: int = 1, **more: object) -> "Aws":
        info = {"deploymentId": deployment, "status": status, **more}
        for _ in range(times):
            self._deploy.add_response("get_deployment", {"deploymentInfo": info}, {"deploymentId": deployment})
        return self

    def serves(self, primary: str, *, active: str | None = None, there: Mapping[str, object] = THERE) -> "Aws":
        sets: list[object] = [{"status": "ACTIVE", "taskDefinition": active, **there}] if active else []
        sets.append({"status": "PRIMARY", "taskDefinition": primary, **there})
        return self.has({"status": "ACTIVE", "taskDefinition": OLD, "taskSets": sets, **THERE})

    def has(self, *services: dict[str, object]) -> "Aws":
        asked = {"cluster": CLUSTER, "services": ["api"]}
        self._service.add_response("describe_services", {"services": list(services)}, asked)
        return self

    def starts(self, deployment: str) -> "Aws":
        asked = {
            "applicationName": "api-app",
            "deploymentGroupName": "api-group",
            "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"content": app_spec(WANTED)}},
            "description": ANY,
        }
        self._deploy.add_response("create_deployment", {"deploymentId": deployment}, asked)
        return self

    def is_busy(self) -> "Aws":
        self._deploy.add_client_error(
            "create_deployment", "DeploymentLimitExceededException", "already has an active deployment d-OTHER"
        )
        return self

    def release(self) -> str:
        deployment = Rollout(wanted=WANTED, codedeploy=self.codedeploy, ecs=self.ecs, clock=self.clock).run()
        self.done()
        return deployment

    def refuses(self) -> str:
        with pytest.raises(RolloutError) as refused:
            Rollout(wanted=WANTED, codedeploy=self.codedeploy, ecs=self.ecs, clock=self.clock).run()
        self.done()
        return str(refused.value)

    def done(self) -> None:
        self._deploy.assert_no_pending_responses()
        self._service.assert_no_pending_responses()


def test_the_revision_in_codedeploys_words() -> None:
    properties = {
        "TaskDefinition": NEW,
        "LoadBalancerInfo": {"ContainerName": "api", "ContainerPort": 8080},
        "PlatformVersion": "1.4.0",
        "NetworkConfiguration": {
            "AwsvpcConfiguration": {
                "Subnets": ["subnet-a", "subnet-b"],
                "SecurityGroups": ["sg-api"],
                "AssignPublicIp": "DISABLED",
            }
        },
    }
    assert json.loads(app_spec(WANTED)) == {
        "version": 0.0,
        "Resources": [{"TargetService": {"Type": "AWS::ECS::Service", "Properties": properties}}],
    }


@pytest.mark.requirement("ECS-005")
@pytest.mark.requirement("SC-11.1")
def test_a_new_revision_is_released_and_waited_for() -> None:
    aws = Aws().under_way().serves(OLD).starts("d-1").is_("d-1", "Created").is_("d-1", "InProgress", 90)
    assert aws.is_("d-1", "Succeeded").release() == "d-1"
    assert aws.clock.now() == 1_000 + 91 * 10


def test_what_serves_already_is_left_alone() -> None:
    assert Aws().under_way().serves(NEW, active=OLD).release() == ""


@pytest.mark.parametrize(
    "change",
    [
        {"subnets": ["subnet-a"]},
        {"securityGroups": ["sg-other"]},
        {"assignPublicIp": "ENABLED"},
    ],
)
def test_the_same_revision_elsewhere_is_released(change: Mapping[str, object]) -> None:
    network = {**THERE["networkConfiguration"]["awsvpcConfiguration"], **change}
    there = {**THERE, "networkConfiguration": {"awsvpcConfiguration": network}}
    assert Aws().under_way().serves(NEW, there=there).starts("d-1").is_("d-1", "Succeeded").release() == "d-1"


def test_the_same_revision_on_another_platform_is_released() -> None:
    aws = Aws().under_way().serves(NEW, there={**THERE, "platformVersion": "1.3.0"})
    assert aws.starts("d-1").is_("d-1", "Succeeded").release() == "d-1"


def test_tasks_with_addresses_of_their_own() -> None:
    spec = json.loads(app_spec(replace(WANTED, public_ip=True)))
    network = spec["Resources"][0]["TargetService"]["Properties"]["NetworkConfiguration"]
    assert network["AwsvpcConfiguration"]["AssignPublicIp"] == "ENABLED"


def test_a_service_that_was_just_made_has_no_task_sets_yet() -> None:
    assert Aws().under_way().has({"status": "ACTIVE", "taskDefinition": NEW, **THERE}).release() == ""


@pytest.mark.requirement("SC-11.1")
def test_the_same_release_left_under_way_is_waited_for_and_not_repeated() -> None:
    aws = Aws().under_way("d-0").is_("d-0", "InProgress", 3).is_("d-0", "Succeeded").under_way().serves(NEW)
    assert aws.release() == ""
    assert aws.clock.now() == 1_000 + 3 * 10


def test_another_release_and_its_rollback_go_first() -> None:
    aws = Aws().under_way("d-0").is_("d-0", "Failed").under_way("d-back").is_("d-back", "Succeeded").under_way()
    assert aws.serves(OLD).starts("d-1").is_("d-1", "Succeeded").release() == "d-1"


@pytest.mark.requirement("ECS-006")
@pytest.mark.requirement("SC-11.2")
def test_a_release_that_an_alarm_stopped_says_so_and_what_serves() -> None:
    aws = Aws().under_way().serves(OLD).starts("d-1")
    aws.is_(
        "d-1",
        "Stopped",
        errorInformation={"code": "ALARM_ACTIVE", "message": "One or more alarms have been activated: errors."},
        rollbackInfo={"rollbackDeploymentId": "d-2"},
    )
    assert aws.refuses() == (
        f"deployment d-1 of api-app/api-group did not put {NEW} in place. Status Stopped, ALARM_ACTIVE: One or more "
        "alarms have been activated: errors. CodeDeploy went back to the revision before, in deployment d-2. "
        "See: aws deploy get-deployment --deployment-id d-1, and the log of the new tasks of service api. "
        "Then mend the revision and run pulumi up again"
    )


@pytest.mark.requirement("SC-11.2")
def test_a_release_that_failed_without_a_word_is_a_failure_too() -> None:
    assert Aws().under_way().serves(OLD).starts("d-1").is_("d-1", "Failed").refuses() == (
        f"deployment d-1 of api-app/api-group did not put {NEW} in place. Status Failed, no code: CodeDeploy gives no "
        "reason. See: aws deploy get-deployment --deployment-id d-1, and the log of the new tasks of service api. "
        "Then mend the revision and run pulumi up again"
    )


def test_waiting_ends() -> None:
    aws = Aws().under_way().serves(OLD).starts("d-1").is_("d-1", "InProgress", 181)
    assert aws.refuses() == (
        f"deployment d-1 of api-app/api-group is InProgress after 30 minutes, and {NEW} waits for it. It goes on by "
        "itself; when it is over, run pulumi up again. To give it up: aws deploy stop-deployment --deployment-id d-1 "
        "--auto-rollback-enabled"
    )
    assert aws.clock.now() == 1_000 + 30 * 60


def test_waiting_for_others_is_within_the_same_limit() -> None:
    aws = Aws().under_way("d-0").is_("d-0", "InProgress", 120).is_("d-0", "Succeeded").under_way()
    aws.serves(OLD).starts("d-1").is_("d-1", "InProgress", 61)
    assert "deployment d-1 of api-app/api-group is InProgress after 30 minutes" in aws.refuses()


def test_somebody_else_was_faster() -> None:
    shown = Aws().under_way().serves(OLD).is_busy().refuses()
    assert shown.startswith(f"api-app/api-group would not take {NEW}, another deployment began just now: ")
    assert "d-OTHER" in shown
    assert shown.endswith("When it is over, run pulumi up again")


@pytest.mark.parametrize("services", [(), ({"status": "INACTIVE", "taskDefinition": NEW},)])
def test_there_is_no_service(services: tuple[dict[str, object], ...]) -> None:
    assert Aws().under_way().has(*services).refuses() == (
        f"{CLUSTER} has no active service 'api', so {NEW} cannot be released to it. "
        "Run: pulumi refresh, then pulumi up, which makes the service again"
    )
