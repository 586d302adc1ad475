from dataclasses import dataclass
from typing import Any

import pytest

from infra.graph import Graph, Node
from infra.rollout import CodeDeploy, NativeCanary, Rolling, Rollout, alarms, ignored, timeout
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.container import Health
from infra.placement import Placement
from infra.rollout import CodeDeploy, NativeCanary, Rolling
from infra.service import Attachment, Service, ServiceArgs, Shift
from infra.task import TaskArgs
size = settings.services["relay"]
def task(**more):
    return TaskArgs(
        image="image", command=["python", "-m", "relay"], environment={}, cpu=size.cpu, memory=size.memory,
        architecture="arm64", task_role_arn="arn:task", execution_role_arn="arn:execution", region="us-east-1",
        log_days=30, health=Health(port=8081, path="/livez"), **more)
place = Placement(cluster_arn="arn:cluster", subnet_ids=["s1", "s2"], security_group_id="sg", public_ip=False)
def behind(port, shift=True):
    return Attachment(target_group_arn=f"blue-{port}", port=port, shift=Shift(
        alternate_target_group_arn=f"green-{port}", production_listener_arn=f"listener-{port}",
        test_listener_arn=f"test-{port}", role_arn="arn:shift") if shift else None)
group = pulumi.ComponentResource("smtp-proxy:test:Group", "group", None, opts)
listener = aws.sqs.Queue("listener", opts=ResourceOptions(parent=group))
relay = Service("relay", ServiceArgs(
    task=task(ports=[2587, 2465]), placement=place, tasks=2, attachments=[behind(2587), behind(2465)],
    rollout=NativeCanary(alarms=["slow", "failing"]), after=[listener]), opts)
Service("worker", ServiceArgs(
    task=task(exec=True), placement=place, tasks=1, rollout=Rolling(alarms=["failing"]), spot=True), opts)
Service("single", ServiceArgs(
    task=task(), tasks=1, rollout=Rolling(), scaled=False, registry_arn="arn:registry",
    placement=Placement(cluster_arn="c", subnet_ids=["s"], security_group_id="g", public_ip=True)), opts)
Service("api", ServiceArgs(
    task=task(), placement=place, tasks=2, attachments=[behind(8080, shift=False)], rollout=CodeDeploy(),
    grace_seconds=90), opts)
pulumi.export("relay", Output.all(relay.name, relay.arn, relay.task_definition_arn, relay.family, relay.log_group_name))
pulumi.export("container", relay.container_name)
"""
SERVICE = "aws:ecs/service:Service"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("service") / "stack", BODY)


def common(name: str) -> dict[str, Any]:
    return {
        "cluster": "arn:cluster",
        "taskDefinition": f"arn:aws:ecs:${{region}}:${{account}}:${{{name}.arn}}",
        "platformVersion": "LATEST",
        "networkConfiguration": {"subnets": ["s1", "s2"], "securityGroups": ["sg"], "assignPublicIp": False},
        "enableEcsManagedTags": True,
        "propagateTags": "SERVICE",
    }


def attached(port: int) -> dict[str, Any]:
    return {
        "targetGroupArn": f"blue-{port}",
        "containerName": "main",
        "containerPort": port,
        "advancedConfiguration": {
            "alternateTargetGroupArn": f"green-{port}",
            "productionListenerRule": f"listener-{port}",
            "testListenerRule": f"test-{port}",
            "roleArn": "arn:shift",
        },
    }


@pytest.mark.requirement("ECS-003")
@pytest.mark.requirement("ECS-006")
@pytest.mark.requirement("ECS-011")
def test_behind_an_nlb_ecs_shifts_traffic_in_two_steps(graph: Graph) -> None:
    service = graph.one(SERVICE, "relay")
    assert service.inputs == {
        **common("relay"),
        "desiredCount": 2,
        "launchType": "FARGATE",
        "loadBalancers": [attached(2587), attached(2465)],
        "healthCheckGracePeriodSeconds": 60,
        "deploymentController": {"type": "ECS"},
        "deploymentConfiguration": {
            "strategy": "CANARY",
            "bakeTimeInMinutes": "10",
            "canaryConfiguration": {"canaryPercent": 10, "canaryBakeTimeInMinutes": "15"},
        },
        "alarms": {"alarmNames": ["slow", "failing"], "enable": True, "rollback": True},
        "availabilityZoneRebalancing": "DISABLED",
        "enableExecuteCommand": False,
        "waitForSteadyState": True,
        "sigintRollback": True,
    }
    assert service.ignore_changes == ("desiredCount",)
    assert graph.one("aws:sqs/queue:Queue", "listener").urn in service.depends_on


@pytest.mark.requirement("ECS-006")
@pytest.mark.requirement("ECS-007")
@pytest.mark.requirement("ECS-014")
def test_without_a_load_balancer_tasks_roll_and_roll_back(graph: Graph) -> None:
    service = graph.one(SERVICE, "worker")
    assert service.inputs == {
        **common("worker"),
        "desiredCount": 1,
        "capacityProviderStrategies": [
            {"capacityProvider": "FARGATE", "base": 1, "weight": 1},
            {"capacityProvider": "FARGATE_SPOT", "weight": 3},
        ],
        "deploymentController": {"type": "ECS"},
        "deploymentConfiguration": {"strategy": "ROLLING"},
        "deploymentCircuitBreaker": {"enable": True, "rollback": True},
        "deploymentMinimumHealthyPercent": 100,
        "deploymentMaximumPercent": 200,
        "alarms": {"alarmNames": ["failing"], "enable": True, "rollback": True},
        "forceNewDeployment": True,
        "enableExecuteCommand": True,
        "waitForSteadyState": True,
        "sigintRollback": True,
    }
    assert service.ignore_changes == ("desiredCount",)


def test_what_nobody_scales_keeps_the_number_it_is_given(graph: Graph) -> None:
    service = graph.one(SERVICE, "single")
    assert service.ignore_changes == ()
    assert service.inputs["launchType"] == "FARGATE"
    assert service.inputs["serviceRegistries"] == {"registryArn": "arn:registry"}
    assert service.inputs["networkConfiguration"] == {
        "subnets": ["s"],
        "securityGroups": ["g"],
        "assignPublicIp": True,
    }
    assert "alarms" not in service.inputs


@pytest.mark.requirement("ECS-003")
def test_what_codedeploy_changes_is_left_to_it(graph: Graph) -> None:
    service = graph.one(SERVICE, "api")
    assert service.inputs == {
        **common("api"),
        "desiredCount": 2,
        "launchType": "FARGATE",
        "loadBalancers": [{"targetGroupArn": "blue-8080", "containerName": "main", "containerPort": 8080}],
        "healthCheckGracePeriodSeconds": 90,
        "deploymentController": {"type": "CODE_DEPLOY"},
        "enableExecuteCommand": False,
        "waitForSteadyState": False,
    }
    assert service.ignore_changes == (
        "taskDefinition",
        "loadBalancers",
        "networkConfiguration",
        "platformVersion",
        "desiredCount",
    )


@pytest.mark.requirement("ECS-012")
def test_each_service_has_a_task_of_its_name(graph: Graph) -> None:
    tasks = {node.name: node for node in graph.of_type("aws:ecs/taskDefinition:TaskDefinition")}
    services: list[Node] = graph.of_type(SERVICE)
    assert {service.name for service in services} == set(tasks)
    assert [task for task in tasks.values() if "healthCheck" not in task.inputs["containerDefinitions"]] == []


def test_what_others_learn_of_it(graph: Graph) -> None:
    assert graph.exports == {
        "relay": [
            "${relay.name}",
            "arn:aws:ecs:${region}:${account}:${relay.arn}",
            "arn:aws:ecs:${region}:${account}:${relay.arn}",
            "relay",
            "/ecs/relay",
        ],
        "container": "main",
    }


@pytest.mark.parametrize("check", contract.ALL, ids=lambda check: check.__name__)
def test_the_contract(graph: Graph, check: Any) -> None:
    assert check(graph) == []


@dataclass(frozen=True)
class Case:
    rollout: Rollout
    ignored: list[str]
    timeout: str
    alarms: tuple[str, ...]


OWNED = ["task_definition", "load_balancers", "network_configuration", "platform_version"]


@pytest.mark.parametrize(
    "case",
    [
        Case(Rolling(alarms=("a",)), [], "30m", ("a",)),
        Case(NativeCanary(alarms=("a", "b")), [], "120m", ("a", "b")),
        Case(CodeDeploy(), OWNED, "30m", ()),
    ],
)
def test_what_a_rollout_means(case: Case) -> None:
    assert ignored(case.rollout, scaled=False) == case.ignored
    assert ignored(case.rollout, scaled=True) == [*case.ignored, "desired_count"]
    assert timeout(case.rollout) == case.timeout
    assert alarms(case.rollout) == case.alarms
