import json

import pytest

from infra.graph import Graph
from tests.infra.wiring import RELEASE, arn, prefix, target, tasks, token


@pytest.mark.requirement("ECS-003")
@pytest.mark.requirement("ECS-006")
@pytest.mark.parametrize(("name", "alarms"), [("api", ["errors", "slow"]), ("console", ["errors"])])
def test_codedeploy_moves_the_web_from_one_colour_to_the_other(stack: Graph, name: str, alarms: list[str]) -> None:
    full = f"{prefix(stack)}-{name}-release"
    group = stack.one("aws:codedeploy/deploymentGroup:DeploymentGroup", full)
    assert group.inputs == {
        "appName": token(stack, f"{name}-release", "name"),
        "deploymentGroupName": full,
        "deploymentConfigName": token(stack, f"{name}-release", "deployment_config_name"),
        "serviceRoleArn": arn(stack, "iam", f"{name}-release"),
        "deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        "ecsService": {
            "clusterName": token(stack, "", "name"),
            "serviceName": token(stack, name, "name"),
        },
        "loadBalancerInfo": {
            "targetGroupPairInfo": {
                "prodTrafficRoute": {"listenerArns": [arn(stack, "lb", "web-443")]},
                "testTrafficRoute": {"listenerArns": [arn(stack, "lb", "web-8443")]},
                "targetGroups": [{"name": target(stack, name, colour, "name")} for colour in ("blue", "green")],
            }
        },
        "blueGreenDeploymentConfig": {
            "deploymentReadyOption": {"actionOnTimeout": "CONTINUE_DEPLOYMENT"},
            "terminateBlueInstancesOnDeploymentSuccess": {"action": "TERMINATE", "terminationWaitTimeInMinutes": 5},
        },
        "autoRollbackConfiguration": {"enabled": True, "events": ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM"]},
        "alarmConfiguration": {
            "enabled": True,
            "ignorePollAlarmFailure": False,
            "alarms": [f"{prefix(stack)}-{name}-{alarm}" for alarm in alarms],
        },
    }
    there = {node.inputs.get("name") for node in stack.of_type("aws:cloudwatch/metricAlarm:MetricAlarm")}
    assert set(group.inputs["alarmConfiguration"]["alarms"]) <= there


@pytest.mark.requirement("ECS-005")
@pytest.mark.parametrize("name", ["api", "console"])
def test_a_new_task_definition_goes_out_with_pulumi_up(stack: Graph, name: str) -> None:
    release = stack.one(RELEASE, f"{prefix(stack)}-{name}-release")
    assert {key: value for key, value in release.inputs.items() if key != "__provider"} == {
        "region": "us-east-1",
        "application": token(stack, f"{name}-release", "name"),
        "group": f"{prefix(stack)}-{name}-release",
        "cluster_arn": arn(stack, "ecs", ""),
        "service": token(stack, name, "name"),
        "task_definition_arn": arn(stack, "ecs", name),
        "container": "main",
        "port": 8080,
        "subnets": tasks(stack),
        "security_group": token(stack, name),
        "public_ip": stack.stack == "dev",
        "platform": "LATEST",
        "limit_minutes": 60,
    }


def test_who_hears_of_what_failed(stack: Graph) -> None:
    rules = {
        node.name.removeprefix(f"{prefix(stack)}-incidents-"): json.loads(node.inputs["eventPattern"])["detail"]
        for node in stack.of_type("aws:cloudwatch/eventRule:EventRule")
        if "-incidents-" in node.name
    }
    assert sorted(rules) == ["blue-green-failed", "release-failed", "renewal-failed"]
    assert rules["blue-green-failed"]["application"] == [
        token(stack, f"{name}-release", "name") for name in ("api", "console")
    ]
    assert rules["renewal-failed"]["group"] == [f"family:{prefix(stack)}-renewer"]
    assert rules["renewal-failed"]["clusterArn"] == [arn(stack, "ecs", "")]
    told = [
        node.inputs for node in stack.of_type("aws:cloudwatch/eventTarget:EventTarget") if "-incidents-" in node.name
    ]
    assert [one["arn"] for one in told] == [arn(stack, "sns", "alarms")] * 3
    assert sorted(one["rule"] for one in told) == [token(stack, f"incidents-{rule}", "name") for rule in sorted(rules)]
