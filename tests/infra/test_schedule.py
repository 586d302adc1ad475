import json

import pytest

from infra.graph import Graph
from tests.infra import contract, policies
from tests.infra.programs import declare

BODY = """
from infra.placement import Placement
from infra.schedule import Schedule, ScheduleArgs
cluster = Output.from_input("arn:aws:ecs:us-east-1:123456789012:cluster/prod")
schedule = Schedule("prod-renewer", ScheduleArgs(
    description="Renews certificates",
    expression="rate(12 hours)",
    window_minutes=30,
    placement=Placement(cluster_arn=cluster, subnet_ids=["s1", "s2"], security_group_id="sg", public_ip=True),
    cluster_arn=cluster,
    task_definition_arn="arn:aws:ecs:us-east-1:123456789012:task-definition/prod-renewer:7",
    family="prod-renewer",
    role_arns=["arn:aws:iam::123456789012:role/task", "arn:aws:iam::123456789012:role/execution"],
), opts)
pulumi.export("arn", schedule.arn)
pulumi.export("name", schedule.name)
"""
ECS = "arn:aws:ecs:us-east-1:123456789012"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("schedule") / "stack", BODY)


def test_the_task_is_started_within_a_window(graph: Graph) -> None:
    assert graph.one("aws:scheduler/schedule:Schedule", "prod-renewer").inputs == {
        "description": "Renews certificates",
        "scheduleExpression": "rate(12 hours)",
        "flexibleTimeWindow": {"mode": "FLEXIBLE", "maximumWindowInMinutes": 30},
        "target": {
            "arn": f"{ECS}:cluster/prod",
            "roleArn": "arn:aws:iam::${account}:${prod-renewer-schedule.arn}",
            "ecsParameters": {
                "taskDefinitionArn": f"{ECS}:task-definition/prod-renewer:7",
                "taskCount": 1,
                "launchType": "FARGATE",
                "enableEcsManagedTags": True,
                "propagateTags": "TASK_DEFINITION",
                "networkConfiguration": {
                    "subnets": ["s1", "s2"],
                    "securityGroups": ["sg"],
                    "assignPublicIp": True,
                },
            },
            "retryPolicy": {"maximumRetryAttempts": 10, "maximumEventAgeInSeconds": 3_600},
        },
    }


@pytest.mark.requirement("QG-5")
def test_the_scheduler_starts_this_task_in_this_cluster_as_these_roles(graph: Graph) -> None:
    policy = graph.one("aws:iam/rolePolicy:RolePolicy", "prod-renewer-schedule")
    assert policies.problems(policy) == []
    assert json.loads(policy.inputs["policy"])["Statement"] == [
        {
            "Effect": "Allow",
            "Action": ["ecs:RunTask"],
            "Resource": [f"{ECS}:task-definition/prod-renewer:*"],
            "Condition": {"ArnEquals": {"ecs:cluster": f"{ECS}:cluster/prod"}},
        },
        {
            "Effect": "Allow",
            "Action": ["ecs:TagResource"],
            "Resource": [f"{ECS}:task/prod/*"],
            "Condition": {"StringEquals": {"ecs:CreateAction": "RunTask"}},
        },
        {
            "Effect": "Allow",
            "Action": ["iam:PassRole"],
            "Resource": ["arn:aws:iam::123456789012:role/task", "arn:aws:iam::123456789012:role/execution"],
            "Condition": {"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}},
        },
    ]


def test_only_the_accounts_own_schedules_take_the_role(graph: Graph) -> None:
    (role,) = graph.of_type("aws:iam/role:Role")
    (statement,) = json.loads(role.inputs["assumeRolePolicy"])["Statement"]
    assert statement["Principal"] == {"Service": "scheduler.amazonaws.com"}
    assert statement["Condition"] == {
        "StringEquals": {"aws:SourceAccount": "123456789012"},
        "ArnLike": {"aws:SourceArn": ["arn:aws:scheduler:us-east-1:123456789012:schedule-group/default"]},
    }


def test_outputs_and_contract(graph: Graph) -> None:
    assert graph.exports == {
        "arn": "arn:aws:scheduler:${region}:${account}:${prod-renewer.arn}",
        "name": "${prod-renewer.name}",
    }
    assert [problem for check in contract.ALL for problem in check(graph)] == []
