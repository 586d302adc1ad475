import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-web"
ARN = "arn:aws:lb:${region}:${account}:"
GROUPS = {
    ("api", "blue"): "smtp-pro-bebe2e-api-blue",
    ("api", "green"): "smtp-pr-bebe2e-api-green",
    ("console", "blue"): "smtp-bebe2e-console-blue",
    ("console", "green"): "smt-bebe2e-console-green",
}
BODY = """
from infra.alb import HttpBalancer, HttpBalancerArgs
balancer = HttpBalancer("smtp-proxy-prod-web", HttpBalancerArgs(
    vpc_id="vpc", subnet_ids=["subnet-a", "subnet-b"], security_group_id="group", certificate_arn="certificate",
    deletion_protection=settings.protect, log_bucket=BUCKET), opts)
for service, route in balancer.routes.items():
    pulumi.export(service, [
        route.container_port, route.production_listener_arn, route.test_listener_arn,
        route.blue.arn, route.blue.name, route.blue.arn_suffix, route.green.arn, route.green.name])
for key in ("arn", "arn_suffix", "dns_name", "zone_id"):
    pulumi.export(key, getattr(balancer, key))
pulumi.export("listeners", [listener.urn for listener in balancer.listeners])
"""


def build(factory: pytest.TempPathFactory, bucket: str | None, stack: str) -> Graph:
    return declare(factory.mktemp("alb"), BODY.replace("BUCKET", repr(bucket)), {"protect": stack == "prod"}, stack)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return build(tmp_path_factory, "logs", "prod")


@pytest.fixture(scope="module")
def unlogged(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return build(tmp_path_factory, None, "dev")


def group(service: str, colour: str) -> str:
    return f"{ARN}${{{GROUPS[service, colour]}.arn}}"


@pytest.mark.parametrize("check", contract.ALL, ids=lambda check: check.__name__)
def test_contract(graph: Graph, check: contract.Check) -> None:
    assert check(graph) == []


@pytest.mark.requirement("SC-7.1")
def test_the_balancer(graph: Graph) -> None:
    (balancer,) = graph.of_type("aws:lb/loadBalancer:LoadBalancer")
    assert balancer.inputs == {
        "loadBalancerType": "application",
        "internal": False,
        "subnets": ["subnet-a", "subnet-b"],
        "securityGroups": ["group"],
        "dropInvalidHeaderFields": True,
        "idleTimeout": 60,
        "enableDeletionProtection": True,
        "accessLogs": {"bucket": "logs", "enabled": True},
    }


def test_a_stack_may_keep_no_access_log_and_give_the_balancer_up(unlogged: Graph) -> None:
    (balancer,) = unlogged.of_type("aws:lb/loadBalancer:LoadBalancer")
    assert "accessLogs" not in balancer.inputs
    assert balancer.inputs["enableDeletionProtection"] is False


@pytest.mark.requirement("QG-5")
def test_plain_http_is_only_sent_to_https(graph: Graph) -> None:
    assert graph.one("aws:lb/listener:Listener", f"{NAME}-80").inputs == {
        "loadBalancerArn": f"{ARN}${{{NAME}.arn}}",
        "port": 80,
        "protocol": "HTTP",
        "defaultActions": [
            {"type": "redirect", "redirect": {"port": "443", "protocol": "HTTPS", "statusCode": "HTTP_301"}}
        ],
    }


@pytest.mark.requirement("QG-5")
@pytest.mark.requirement("SC-7.1")
@pytest.mark.parametrize(("port", "colour"), [(443, "blue"), (8443, "green")])
def test_everything_else_is_https_and_goes_to_the_console(graph: Graph, port: int, colour: str) -> None:
    listener = graph.one("aws:lb/listener:Listener", f"{NAME}-{port}")
    assert listener.inputs == {
        "loadBalancerArn": f"{ARN}${{{NAME}.arn}}",
        "port": port,
        "protocol": "HTTPS",
        "sslPolicy": "ELBSecurityPolicy-TLS13-1-2-Res-2021-06",
        "certificateArn": "certificate",
        "defaultActions": [{"type": "forward", "targetGroupArn": group("console", colour)}],
        "routingHttpResponseStrictTransportSecurityHeaderValue": "max-age=31536000",
        "routingHttpResponseServerEnabled": False,
    }
    assert listener.ignore_changes == ("defaultActions",)


@pytest.mark.requirement("ECS-003")
@pytest.mark.parametrize(("port", "colour"), [(443, "blue"), (8443, "green")])
def test_a_rule_for_the_paths_of_the_api(graph: Graph, port: int, colour: str) -> None:
    rule = graph.one("aws:lb/listenerRule:ListenerRule", f"{NAME}-{port}-api")
    assert rule.inputs == {
        "listenerArn": f"{ARN}${{{NAME}-{port}.arn}}",
        "priority": 10,
        "conditions": [{"pathPattern": {"values": ["/api/*", "/healthz*", "/openapi.json"]}}],
        "actions": [{"type": "forward", "targetGroupArn": group("api", colour)}],
    }
    assert rule.ignore_changes == ("actions",)


def test_there_are_no_other_ways_in(graph: Graph) -> None:
    assert sorted(node.inputs["port"] for node in graph.of_type("aws:lb/listener:Listener")) == [80, 443, 8443]
    assert len(graph.of_type("aws:lb/listenerRule:ListenerRule")) == 2
    assert {node.name for node in graph.of_type("aws:lb/targetGroup:TargetGroup")} == set(GROUPS.values())


@pytest.mark.requirement("ECS-012")
@pytest.mark.parametrize("colour", ["blue", "green"])
@pytest.mark.parametrize(("service", "drain"), [("api", 120), ("console", 30)])
def test_a_group(graph: Graph, service: str, colour: str, drain: int) -> None:
    assert graph.one("aws:lb/targetGroup:TargetGroup", GROUPS[service, colour]).inputs == {
        "vpcId": "vpc",
        "targetType": "ip",
        "protocol": "HTTPS",
        "port": 8080,
        "healthCheck": {
            "protocol": "HTTPS",
            "port": "traffic-port",
            "path": "/readyz",
            "matcher": "200",
            "interval": 10,
            "timeout": 5,
            "healthyThreshold": 2,
            "unhealthyThreshold": 3,
        },
        "deregistrationDelay": drain,
    }


@pytest.mark.requirement("ECS-003")
def test_what_codedeploy_and_alarms_need_to_know(graph: Graph) -> None:
    def route(service: str) -> list[object]:
        blue, green = GROUPS[service, "blue"], GROUPS[service, "green"]
        return [
            8080,
            f"{ARN}${{{NAME}-443.arn}}",
            f"{ARN}${{{NAME}-8443.arn}}",
            group(service, "blue"),
            f"${{{blue}.name}}",
            f"${{{blue}.arn_suffix}}",
            group(service, "green"),
            f"${{{green}.name}}",
        ]

    urns = {node.name: node.urn for node in graph.nodes if node.type.startswith("aws:lb/listener")}
    names = [f"{NAME}-443", f"{NAME}-8443", f"{NAME}-443-api", f"{NAME}-8443-api"]
    assert graph.exports == {
        "api": route("api"),
        "console": route("console"),
        "arn": f"{ARN}${{{NAME}.arn}}",
        "arn_suffix": f"${{{NAME}.arn_suffix}}",
        "dns_name": f"${{{NAME}.dns_name}}",
        "zone_id": f"${{{NAME}.zone_id}}",
        "listeners": [urns[name] for name in names],
    }
