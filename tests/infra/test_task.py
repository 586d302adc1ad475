import json
from pathlib import Path

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.container import Health
from infra.task import Task, TaskArgs
task = Task(f"{settings.prefix}-relay", TaskArgs(
    image=Output.from_input("registry/relay@sha256:1"),
    command=["python", "-m", "relay"],
    environment={"BODY_BUCKET": Output.from_input("bodies")},
    cpu=512,
    memory=1024,
    architecture=settings.release.architecture,
    task_role_arn="arn:task",
    execution_role_arn="arn:execution",
    region=settings.region,
    log_days=30,
    log_key_arn="arn:key",
    ports=[2587],
    health=Health(port=8081, path="/livez"),
), opts)
pulumi.export("task", Output.all(task.task_definition_arn, task.family, task.log_group_name, task.log_group_arn))
pulumi.export("container", task.container_name)
"""
NAME = "smtp-proxy-prod-relay"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("task") / "stack", BODY)


def test_the_task_definition(graph: Graph) -> None:
    task = graph.one("aws:ecs/taskDefinition:TaskDefinition", NAME)
    (container,) = json.loads(task.inputs["containerDefinitions"])
    assert {key: value for key, value in task.inputs.items() if key != "containerDefinitions"} == {
        "family": NAME,
        "cpu": "512",
        "memory": "1024",
        "networkMode": "awsvpc",
        "requiresCompatibilities": ["FARGATE"],
        "runtimePlatform": {"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
        "taskRoleArn": "arn:task",
        "executionRoleArn": "arn:execution",
        "volumes": [{"name": "tmp"}],
        "skipDestroy": True,
    }
    assert container["image"] == "registry/relay@sha256:1"
    assert container["environment"] == [{"name": "BODY_BUCKET", "value": "bodies"}]
    assert container["logConfiguration"]["options"]["awslogs-group"] == f"/ecs/{NAME}"


def test_its_log(graph: Graph) -> None:
    assert graph.one("aws:cloudwatch/logGroup:LogGroup", NAME).inputs == {
        "name": f"/ecs/{NAME}",
        "retentionInDays": 30,
        "kmsKeyId": "arn:key",
    }


def test_what_others_learn_of_it(graph: Graph) -> None:
    assert graph.exports == {
        "task": [
            f"arn:aws:ecs:${{region}}:${{account}}:${{{NAME}.arn}}",
            NAME,
            f"/ecs/{NAME}",
            f"arn:aws:cloudwatch:${{region}}:${{account}}:${{{NAME}.arn}}",
        ],
        "container": "main",
    }


@pytest.mark.requirement("ECS-013")
def test_x86_by_configuration(tmp_path: Path) -> None:
    graph = declare(tmp_path / "x86", BODY, {"architecture": "x86_64"})
    task = graph.one("aws:ecs/taskDefinition:TaskDefinition", NAME)
    assert task.inputs["runtimePlatform"] == {"cpuArchitecture": "X86_64", "operatingSystemFamily": "LINUX"}


def test_the_contract(graph: Graph) -> None:
    assert [problem for check in contract.ALL for problem in check(graph)] == []
