import json

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-relay"
ARN = "arn:aws:lb:${region}:${account}:"
BODY = """
from infra.nlb import LoadBalancerRole, SmtpBalancer, SmtpBalancerArgs
balancer = SmtpBalancer("smtp-proxy-prod-relay", SmtpBalancerArgs(
    vpc_id="vpc", subnet_ids=["subnet-a", "subnet-b"], security_group_id="group", deletion_protection=settings.protect,
    internal=INTERNAL), opts)
role = LoadBalancerRole("smtp-proxy-prod-shift", opts)
for port, route in balancer.routes.items():
    pulumi.export(f"{port}", [
        route.container_port, route.production_listener_arn, route.test_listener_arn,
        route.blue.arn, route.blue.name, route.blue.arn_suffix, route.green.arn, route.green.arn_suffix])
for key in ("arn", "arn_suffix", "dns_name", "zone_id"):
    pulumi.export(key, getattr(balancer, key))
pulumi.export("listeners", [listener.port for listener in balancer.listeners])
pulumi.export("role", [role.arn, role.attachment.role])
"""


def build(factory: pytest.TempPathFactory, *, internal: bool, stack: str) -> Graph:
    return declare(factory.mktemp("nlb"), BODY.replace("INTERNAL", str(internal)), {"protect": stack == "prod"}, stack)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return build(tmp_path_factory, internal=False, stack="prod")


@pytest.fixture(scope="module")
def internal(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return build(tmp_path_factory, internal=True, stack="dev")


@pytest.mark.parametrize("check", contract.ALL, ids=lambda check: check.__name__)
def test_contract(graph: Graph, check: contract.Check) -> None:
    assert check(graph) == []


@pytest.mark.requirement("SC-7.1")
def test_the_balancer(graph: Graph) -> None:
    (balancer,) = graph.of_type("aws:lb/loadBalancer:LoadBalancer")
    assert balancer.inputs == {
        "loadBalancerType": "network",
        "internal": False,
        "subnets": ["subnet-a", "subnet-b"],
        "securityGroups": ["group"],
        "enableCrossZoneLoadBalancing": True,
        "enableDeletionProtection": True,
    }


def test_a_stack_may_hide_it_and_give_it_up(internal: Graph) -> None:
    (balancer,) = internal.of_type("aws:lb/loadBalancer:LoadBalancer")
    assert (balancer.inputs["internal"], balancer.inputs["enableDeletionProtection"]) == (True, False)


@pytest.mark.requirement("SC-7.1")
@pytest.mark.parametrize("port", [587, 465])
def test_a_listener_shares_its_port_between_two_colours_and_leaves_tls_alone(graph: Graph, port: int) -> None:
    listener = graph.one("aws:lb/listener:Listener", f"{NAME}-{port}")
    blue, green = (f"{ARN}${{smtp-{cut}-52f983-{port}-{colour}.arn}}" for cut, colour in COLOURS)
    assert listener.inputs == {
        "loadBalancerArn": f"{ARN}${{{NAME}.arn}}",
        "port": port,
        "protocol": "TCP",
        "tcpIdleTimeoutSeconds": 660,
        "defaultActions": [
            {
                "type": "forward",
                "forward": {"targetGroups": [{"arn": blue, "weight": 100}, {"arn": green, "weight": 0}]},
            }
        ],
    }
    assert listener.ignore_changes == ("defaultActions",)


COLOURS = [("pro", "blue"), ("pr", "green")]


def test_there_are_no_other_listeners_and_groups(graph: Graph) -> None:
    assert [node.inputs["port"] for node in graph.of_type("aws:lb/listener:Listener")] == [465, 587]
    assert sorted(node.inputs["port"] for node in graph.of_type("aws:lb/targetGroup:TargetGroup")) == [
        2465,
        2465,
        2587,
        2587,
    ]


@pytest.mark.requirement("SC-8.3")
@pytest.mark.requirement("ECS-012")
@pytest.mark.parametrize(("cut", "colour"), COLOURS)
@pytest.mark.parametrize(("port", "container_port"), [(587, 2587), (465, 2465)])
def test_a_group_keeps_addresses_and_sessions(
    graph: Graph, cut: str, colour: str, port: int, container_port: int
) -> None:
    assert graph.one("aws:lb/targetGroup:TargetGroup", f"smtp-{cut}-52f983-{port}-{colour}").inputs == {
        "vpcId": "vpc",
        "targetType": "ip",
        "protocol": "TCP",
        "port": container_port,
        "preserveClientIp": "true",
        "proxyProtocolV2": False,
        "healthCheck": {
            "protocol": "HTTP",
            "port": "8081",
            "path": "/readyz",
            "matcher": "200",
            "interval": 10,
            "timeout": 6,
            "healthyThreshold": 2,
            "unhealthyThreshold": 2,
        },
        "deregistrationDelay": 300,
        "connectionTermination": False,
        "targetHealthStates": [{"enableUnhealthyConnectionTermination": False, "unhealthyDrainingInterval": 300}],
    }


def test_ecs_may_move_the_traffic_and_nobody_else_gets_the_role(graph: Graph) -> None:
    name = "smtp-proxy-prod-shift"
    role = graph.one("aws:iam/role:Role", name)
    assert json.loads(role.inputs["assumeRolePolicy"])["Statement"] == [
        {"Effect": "Allow", "Principal": {"Service": "ecs.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ]
    assert graph.one("aws:iam/rolePolicyAttachment:RolePolicyAttachment", name).inputs == {
        "role": f"${{{name}.name}}",
        "policyArn": "arn:aws:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers",
    }


@pytest.mark.requirement("ECS-003")
def test_what_a_canary_and_an_alarm_need_to_know(graph: Graph) -> None:
    def route(port: int, container_port: int) -> list[object]:
        blue, green = (f"smtp-{cut}-52f983-{port}-{colour}" for cut, colour in COLOURS)
        return [
            container_port,
            f"{ARN}${{{NAME}-{port}.arn}}",
            None,
            f"{ARN}${{{blue}.arn}}",
            f"${{{blue}.name}}",
            f"${{{blue}.arn_suffix}}",
            f"{ARN}${{{green}.arn}}",
            f"${{{green}.arn_suffix}}",
        ]

    assert graph.exports == {
        "587": route(587, 2587),
        "465": route(465, 2465),
        "arn": f"{ARN}${{{NAME}.arn}}",
        "arn_suffix": f"${{{NAME}.arn_suffix}}",
        "dns_name": f"${{{NAME}.dns_name}}",
        "zone_id": f"${{{NAME}.zone_id}}",
        "listeners": [587, 465],
        "role": ["arn:aws:iam::${account}:${smtp-proxy-prod-shift.arn}", "${smtp-proxy-prod-shift.name}"],
    }
