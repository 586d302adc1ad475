import json
from dataclasses import replace
from typing import Any

import pytest
from pulumi import Output

from infra import deployment
from infra.deployment import BlueGreenArgs
from infra.graph import Graph
from infra.placement import Placement
from infra.targets import Route, Target
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-api"
BODY = """
from infra.deployment import BlueGreen, BlueGreenArgs
from infra.placement import Placement
from infra.targets import Route, Target
ELB = "arn:aws:elasticloadbalancing:us-east-1:1"

def target(colour):
    name = f"api-{colour}"
    return Target(arn=Output.from_input(f"{ELB}:{name}"), name=Output.from_input(name),
        arn_suffix=Output.from_input(f"targetgroup/{name}"))

route = Route(container_port=8080, blue=target("blue"), green=target("green"),
    production_listener_arn=Output.from_input(f"{ELB}:listener/app/web/1/443"),
    test_listener_arn=Output.from_input(f"{ELB}:listener/app/web/1/8443"))
place = Placement(cluster_arn="arn:aws:ecs:us-east-1:1:cluster/main", subnet_ids=["s1", "s2"],
    security_group_id="sg", public_ip=True)
args = BlueGreenArgs(
    region=settings.region, placement=place, platform="1.4.0", cluster_name="main",
    service_arn="arn:aws:ecs:us-east-1:1:service/main/api", service_name="api",
    task_definition_arn="arn:aws:ecs:us-east-1:1:task-definition/api:7", container="api", route=route,
    task_role_arns=["arn:aws:iam::1:role/api", "arn:aws:iam::1:role/start"], CHANGES)
release = BlueGreen("smtp-proxy-prod-api", args, opts)
pulumi.export("release", [release.application, release.group, release.deployment_id])
"""
WATCHED = 'alarm_names=["errors", "slow"]'
PLAIN = "canary_percent=50, canary_minutes=1, termination_minutes=0, limit_minutes=20"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("deployment"), BODY.replace("CHANGES", WATCHED))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("deployment"), BODY.replace("CHANGES", PLAIN))


@pytest.mark.parametrize("check", contract.ALL, ids=lambda check: check.__name__)
def test_contract(graph: Graph, check: contract.Check) -> None:
    assert check(graph) == []


def group(graph: Graph) -> dict[str, Any]:
    return dict(graph.one("aws:codedeploy/deploymentGroup:DeploymentGroup", NAME).inputs)


def canary(graph: Graph) -> dict[str, Any]:
    return dict(graph.one("aws:codedeploy/deploymentConfig:DeploymentConfig", NAME).inputs)


@pytest.mark.requirement("ECS-003")
@pytest.mark.requirement("ECS-006")
def test_a_release_is_a_canary_that_failures_and_alarms_take_back(graph: Graph) -> None:
    application = graph.one("aws:codedeploy/application:Application", NAME)
    assert application.inputs == {"computePlatform": "ECS"}
    assert canary(graph) == {
        "computePlatform": "ECS",
        "trafficRoutingConfig": {"type": "TimeBasedCanary", "timeBasedCanary": {"percentage": 10, "interval": 15}},
    }
    elb = "arn:aws:elasticloadbalancing:us-east-1:1"
    assert group(graph) == {
        "appName": f"${{{NAME}.name}}",
        "deploymentGroupName": NAME,
        "serviceRoleArn": f"arn:aws:iam::${{account}}:${{{NAME}.arn}}",
        "deploymentConfigName": f"${{{NAME}.deployment_config_name}}",
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "ecsService": {"clusterName": "main", "serviceName": "api"},
        "loadBalancerInfo": {
            "targetGroupPairInfo": {
                "prodTrafficRoute": {"listenerArns": [f"{elb}:listener/app/web/1/443"]},
                "testTrafficRoute": {"listenerArns": [f"{elb}:listener/app/web/1/8443"]},
                "targetGroups": [{"name": "api-blue"}, {"name": "api-green"}],
            }
        },
        "blueGreenDeploymentConfig": {
            "deploymentReadyOption": {"actionOnTimeout": "CONTINUE_DEPLOYMENT"},
            "terminateBlueInstancesOnDeploymentSuccess": {"action": "TERMINATE", "terminationWaitTimeInMinutes": 5},
        },
        "autoRollbackConfiguration": {"enabled": True, "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"]},
        "alarmConfiguration": {"enabled": True, "alarms": ["errors", "slow"], "ignorePollAlarmFailure": False},
    }


def test_a_stack_may_hurry_and_watch_nothing(plain: Graph) -> None:
    assert canary(plain)["trafficRoutingConfig"]["timeBasedCanary"] == {"percentage": 50, "interval": 1}
    found = group(plain)
    assert found["alarmConfiguration"] == {"enabled": False, "alarms": [], "ignorePollAlarmFailure": False}
    terminate = found["blueGreenDeploymentConfig"]["terminateBlueInstancesOnDeploymentSuccess"]
    assert terminate == {"action": "TERMINATE", "terminationWaitTimeInMinutes": 0}
    assert [s["Sid"] for s in permissions(plain)] == ["Service", "TaskSets", "Traffic", "Rules", "Look", "StartTasks"]


@pytest.mark.requirement("ECS-005")
def test_a_new_task_definition_is_released_by_pulumi_up(graph: Graph) -> None:
    release = graph.one("pulumi-python:dynamic/smtp-proxy:Release", NAME)
    assert {key: value for key, value in release.inputs.items() if key != "__provider"} == {
        "region": "us-east-1",
        "application": f"${{{NAME}.name}}",
        "group": NAME,
        "cluster_arn": "arn:aws:ecs:us-east-1:1:cluster/main",
        "service": "api",
        "task_definition_arn": "arn:aws:ecs:us-east-1:1:task-definition/api:7",
        "container": "api",
        "port": 8080,
        "subnets": ["s1", "s2"],
        "security_group": "sg",
        "public_ip": True,
        "platform": "1.4.0",
        "limit_minutes": 60,
    }
    assert graph.one("aws:codedeploy/deploymentGroup:DeploymentGroup", NAME).urn in release.depends_on
    assert graph.exports == {"release": [f"${{{NAME}.name}}", NAME, None]}


@pytest.mark.requirement("QG-5")
def test_only_this_application_of_codedeploy_gets_the_role(graph: Graph) -> None:
    role = graph.one("aws:iam/role:Role", NAME)
    assert json.loads(role.inputs["assumeRolePolicy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Principal": {"Service": "codedeploy.amazonaws.com"},
            "Action": "sts:AssumeRole",
            "Condition": {
                "StringEquals": {"aws:SourceAccount": "${account}"},
                "ArnLike": {"aws:SourceArn": f"arn:aws:codedeploy:${{region}}:${{account}}:${{{NAME}.arn}}/*"},
            },
        }
    ]


def permissions(graph: Graph) -> list[dict[str, Any]]:
    policy = graph.one("aws:iam/rolePolicy:RolePolicy", NAME)
    assert policy.urn in graph.one("aws:codedeploy/deploymentGroup:DeploymentGroup", NAME).depends_on
    return json.loads(policy.inputs["policy"])["Statement"]


@pytest.mark.requirement("QG-5")
def test_the_role_can_release_this_service_and_nothing_else(graph: Graph) -> None:
    ecs, elb = "arn:aws:ecs:us-east-1:1", "arn:aws:elasticloadbalancing:us-east-1:1"
    expected = [
        ("Service", ["ecs:DescribeServices", "ecs:UpdateServicePrimaryTaskSet"], f"{ecs}:service/main/api"),
        ("TaskSets", ["ecs:CreateTaskSet", "ecs:DeleteTaskSet"], f"{ecs}:task-set/main/api/*"),
        (
            "Traffic",
            ["elasticloadbalancing:ModifyListener"],
            [f"{elb}:listener/app/web/1/443", f"{elb}:listener/app/web/1/8443"],
        ),
        (
            "Rules",
            ["elasticloadbalancing:ModifyRule"],
            [f"{elb}:listener-rule/app/web/1/443/*", f"{elb}:listener-rule/app/web/1/8443/*"],
        ),
        (
            "Look",
            [
                "cloudwatch:DescribeAlarms",
                "elasticloadbalancing:DescribeListeners",
                "elasticloadbalancing:DescribeRules",
                "elasticloadbalancing:DescribeTargetGroups",
            ],
            "*",
        ),
        ("StartTasks", ["iam:PassRole"], ["arn:aws:iam::1:role/api", "arn:aws:iam::1:role/start"]),
    ]
    found = permissions(graph)
    assert [(s["Sid"], s["Action"], s["Resource"]) for s in found] == expected
    assert {s["Effect"] for s in found} == {"Allow"}
    assert found[-1]["Condition"] == {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}


def test_the_groups_of_an_application() -> None:
    arn = "arn:aws:codedeploy:us-east-1:1:application:api"
    assert deployment.groups_of(arn) == "arn:aws:codedeploy:us-east-1:1:deploymentgroup:api/*"


def arguments() -> BlueGreenArgs:
    text = Output.from_input("x")
    target = Target(arn=text, name=text, arn_suffix=text)
    route = Route(container_port=1, blue=target, green=target, production_listener_arn=text, test_listener_arn=text)
    return BlueGreenArgs(
        region="r",
        placement=Placement(cluster_arn="c", subnet_ids=["s"], security_group_id="g", public_ip=False),
        platform="1.4.0",
        cluster_name="c",
        service_arn="s",
        service_name="s",
        task_definition_arn="t",
        container="api",
        route=route,
        task_role_arns=[],
    )


def test_codedeploy_watches_ten_alarms() -> None:
    args = arguments()
    assert len(replace(args, alarm_names=["alarm"] * 10).alarm_names) == 10
    with pytest.raises(ValueError, match="11 alarms shall stop a release of api; CodeDeploy watches up to 10"):
        replace(args, alarm_names=["alarm"] * 11)


def test_a_release_is_tried_before_it_serves() -> None:
    args = arguments()
    with pytest.raises(ValueError, match="the route to api has no test listener"):
        replace(args, route=replace(args.route, test_listener_arn=None))
