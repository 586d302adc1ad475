import json

import pytest

from infra.graph import Graph
from tests.infra import contract, policies
from tests.infra.programs import declare

BODY = """
from infra.roles import ExecutionRole, ExecutionRoleArgs, TaskRole, TaskRoleArgs
cluster = Output.from_input("arn:aws:ecs:us-east-1:123456789012:cluster/prod")
repository = "arn:aws:ecr:us-east-1:123456789012:repository/relay"
starts = ExecutionRole("starts", ExecutionRoleArgs(
    cluster_arn=cluster, repository_arns=[repository], tasks=["prod-worker", "prod-relay"]), opts)
ExecutionRole("elsewhere", ExecutionRoleArgs(cluster_arn=cluster, repository_arns=[], tasks=["prod-relay"]), opts)
TaskRole("nothing", TaskRoleArgs(cluster_arn=cluster, statements=[]), opts)
pulumi.export("arn", starts.arn)
"""
LOGS = "arn:aws:logs:us-east-1:123456789012:log-group:/ecs/{}:*"
POLICY = "aws:iam/rolePolicy:RolePolicy"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("roles") / "stack", BODY)


@pytest.mark.requirement("QG-5")
@pytest.mark.requirement("ECS-010")
def test_ecs_pulls_the_stacks_images_and_writes_the_stacks_logs(graph: Graph) -> None:
    policy = graph.one(POLICY, "starts")
    assert policy.inputs["role"] == "${starts.name}"
    assert json.loads(policy.inputs["policy"]) == {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                "Resource": ["arn:aws:ecr:us-east-1:123456789012:repository/relay"],
            },
            {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken"], "Resource": ["*"]},
            {
                "Effect": "Allow",
                "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": [LOGS.format("prod-relay"), LOGS.format("prod-worker")],
            },
        ],
    }


def test_images_of_other_registries_need_no_permission(graph: Graph) -> None:
    found = policies.actions(str(graph.one(POLICY, "elsewhere").inputs["policy"]))
    assert found == {"logs:CreateLogStream", "logs:PutLogEvents"}


def test_who_may_do_nothing_has_no_policy(graph: Graph) -> None:
    assert {node.name for node in graph.of_type(POLICY)} == {"starts", "elsewhere"}
    assert {node.name for node in graph.of_type("aws:iam/role:Role")} == {"starts", "elsewhere", "nothing"}


def test_outputs_and_contract(graph: Graph) -> None:
    assert graph.exports == {"arn": "arn:aws:iam::${account}:${starts.arn}"}
    assert [problem for node in graph.of_type(POLICY) for problem in policies.problems(node)] == []
    assert [problem for check in contract.ALL for problem in check(graph)] == []
