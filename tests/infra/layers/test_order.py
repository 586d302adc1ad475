import pytest

from infra.graph import Graph
from tests.infra.wiring import RELEASE, RUN, SERVICE, before, prefix

ROUTES = "aws:ec2/route:Route"
RULES = (
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
)


def test_the_schema_is_prepared_once_every_way_is_open(stack: Graph) -> None:
    (run,) = stack.of_type(RUN)
    first = {node.urn for node in before(stack, run)}
    ways = [node for kind in (ROUTES, *RULES) for node in stack.of_type(kind)]
    associations = stack.of_type("aws:ec2/routeTableAssociation:RouteTableAssociation")
    assert ways
    assert [node.name for node in (*ways, *associations) if node.urn not in first] == []
    assert stack.one("aws:rds/instance:Instance", f"{prefix(stack)}-database").urn in first


@pytest.mark.requirement("ECS-005")
def test_services_start_once_the_schema_is_there_and_listeners_forward(stack: Graph) -> None:
    listeners = {
        node.name.removeprefix(f"{prefix(stack)}-"): node.urn for node in stack.of_type("aws:lb/listener:Listener")
    }
    rules = {
        node.name.removeprefix(f"{prefix(stack)}-"): node.urn
        for node in stack.of_type("aws:lb/listenerRule:ListenerRule")
    }
    (run,) = stack.of_type(RUN)
    # The one that redirects has no target group.
    web = {"web-443", "web-8443", "web-443-api", "web-8443-api"}
    expected = {"relay": {"smtp-587", "smtp-465"}, "worker": set[str](), "api": web, "console": web}
    for name, forwarding in expected.items():
        first = {node.urn for node in before(stack, stack.one(SERVICE, f"{prefix(stack)}-{name}"))}
        assert run.urn in first
        assert {short for short, urn in (listeners | rules).items() if urn in first} == forwarding


def test_the_relay_waits_for_the_role_that_moves_its_listeners(stack: Graph) -> None:
    attachment = stack.one("aws:iam/rolePolicyAttachment:RolePolicyAttachment", f"{prefix(stack)}-balancing")
    assert attachment in before(stack, stack.one(SERVICE, f"{prefix(stack)}-relay"))
    assert attachment.inputs["policyArn"] == (
        "arn:aws:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers"
    )


def test_the_renewer_first_runs_when_the_zone_is_delegated(stack: Graph) -> None:
    """ACM issues the certificate of the web only then, and a schedule starts its task as soon as it is there."""
    schedule = stack.one("aws:scheduler/schedule:Schedule", f"{prefix(stack)}-renewer")
    first = {node.urn for node in before(stack, schedule)}
    listener = stack.one("aws:lb/listener:Listener", f"{prefix(stack)}-web-443")
    (proof,) = stack.of_type("aws:acm/certificateValidation:CertificateValidation")
    assert listener.urn in first
    assert proof.urn in listener.references["certificateArn"]


@pytest.mark.requirement("ECS-005")
def test_a_release_begins_once_what_may_stop_it_is_there(stack: Graph) -> None:
    alarms = [
        *stack.of_type("aws:cloudwatch/metricAlarm:MetricAlarm"),
        *stack.of_type("aws:cloudwatch/compositeAlarm:CompositeAlarm"),
    ]
    watching = [node.urn for node in alarms if "alarms:Alarms" in node.parent]
    assert len(watching) > 20
    releases = stack.of_type(RELEASE)
    assert [node.name for node in releases] == [f"{prefix(stack)}-api-release", f"{prefix(stack)}-console-release"]
    for release in releases:
        first = {node.urn for node in before(stack, release)}
        assert [urn for urn in watching if urn not in first] == []
        assert stack.one("aws:codedeploy/deploymentGroup:DeploymentGroup", release.name).urn in first
