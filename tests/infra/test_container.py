from dataclasses import replace
from typing import Any

import botocore.session
import pytest
from botocore.validate import ParamValidator

from infra.container import Container, Health, definition

RELAY = Container(
    name="main",
    image="123456789012.dkr.ecr.us-east-1.amazonaws.com/relay@sha256:" + "a" * 64,
    command=["python", "-m", "relay"],
    environment={"QUEUE_URL": "https://sqs/queue", "AWS_REGION": "us-east-1"},
    log_group="/ecs/relay",
    region="us-east-1",
    ports=(2587, 8081),
    health=Health(port=8081, path="/livez"),
    stop_seconds=110,
)


def faults(made: Any) -> str:
    model = botocore.session.get_session().get_service_model("ecs")
    shape: Any = model.shape_for("ContainerDefinition")
    return ParamValidator().validate(made, shape).generate_report()


@pytest.mark.requirement("ECS-012")
@pytest.mark.requirement("LOCAL-010")
def test_the_whole_definition() -> None:
    assert definition(RELAY) == {
        "name": "main",
        "image": "123456789012.dkr.ecr.us-east-1.amazonaws.com/relay@sha256:" + "a" * 64,
        "essential": True,
        "command": ["python", "-m", "relay"],
        "environment": [
            {"name": "AWS_REGION", "value": "us-east-1"},
            {"name": "QUEUE_URL", "value": "https://sqs/queue"},
        ],
        "portMappings": [
            {"containerPort": 2587, "hostPort": 2587, "protocol": "tcp"},
            {"containerPort": 8081, "hostPort": 8081, "protocol": "tcp"},
        ],
        "user": "10001",
        "readonlyRootFilesystem": True,
        "linuxParameters": {"initProcessEnabled": True, "capabilities": {"drop": ["ALL"]}},
        "mountPoints": [{"sourceVolume": "tmp", "containerPath": "/tmp", "readOnly": False}],  # noqa: S108
        "stopTimeout": 110,
        "ulimits": [{"name": "nofile", "softLimit": 65_536, "hardLimit": 65_536}],
        "logConfiguration": {
            "logDriver": "awslogs",
            "options": {
                "awslogs-group": "/ecs/relay",
                "awslogs-region": "us-east-1",
                "awslogs-stream-prefix": "task",
                "mode": "non-blocking",
                "max-buffer-size": "16m",
            },
        },
        "healthCheck": {
            "command": ["CMD", "python", "-m", "backing.probe", "http://127.0.0.1:8081/livez"],
            "interval": 15,
            "timeout": 5,
            "retries": 3,
            "startPeriod": 30,
        },
    }


@pytest.mark.parametrize("container", [RELAY, replace(RELAY, exec=True), replace(RELAY, health=None, ports=())])
def test_ecs_knows_every_key(container: Container) -> None:
    made = dict(definition(container))
    assert faults(made) == ""
    assert faults({**made, "portMapping": []}) != ""


@pytest.mark.requirement("ECS-014")
def test_a_shell_needs_a_writable_root_and_its_capabilities() -> None:
    changed = {
        key: value for key, value in definition(replace(RELAY, exec=True)).items() if definition(RELAY)[key] != value
    }
    assert changed == {"readonlyRootFilesystem": False, "linuxParameters": {"initProcessEnabled": True}}


@pytest.mark.requirement("ECS-010")
def test_nothing_is_injected_as_a_secret() -> None:
    assert "secrets" not in definition(RELAY)


def test_a_task_that_ends_has_no_health() -> None:
    assert "healthCheck" not in definition(replace(RELAY, health=None))


@pytest.mark.parametrize("seconds", [1, 121])
def test_fargate_waits_two_minutes_at_most(seconds: int) -> None:
    with pytest.raises(ValueError, match=rf"main stops within {seconds} s; Fargate has 2 to 120"):
        definition(replace(RELAY, stop_seconds=seconds))
