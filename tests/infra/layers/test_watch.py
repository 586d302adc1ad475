import pytest

from infra.graph import Graph
from tests.infra.wiring import arn, prefix, target, token

ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
POLICY = "aws:appautoscaling/policy:Policy"
BOUNDS = {
    "prod": {"relay": (2, 20), "worker": (1, 10), "api": (2, 10), "console": (2, 2)},
    "dev": {"relay": (1, 2), "worker": (1, 2), "api": (1, 2), "console": (1, 1)},
}
POLICIES = {
    "relay": ("sessions", "cpu", "quiet"),
    "worker": ("backlog", "cpu", "quiet"),
    "api": ("requests", "latency", "cpu", "quiet"),
    "console": ("cpu", "quiet"),
}


def resource(graph: Graph, name: str) -> str:
    return f"service/{token(graph, '', 'name')}/{token(graph, name, 'name')}"


@pytest.mark.requirement("SCALE-011")
@pytest.mark.requirement("SC-9.2")
def test_every_service_scales_within_its_bounds(stack: Graph) -> None:
    targets = stack.of_type("aws:appautoscaling/target:Target")
    assert {node.name: node.inputs for node in targets} == {
        f"{prefix(stack)}-{name}-scaling": {
            "serviceNamespace": "ecs",
            "scalableDimension": "ecs:service:DesiredCount",
            "resourceId": resource(stack, name),
            "minCapacity": least,
            "maxCapacity": most,
        }
        for name, (least, most) in BOUNDS[stack.stack].items()
    }


@pytest.mark.requirement("SCALE-001")
@pytest.mark.requirement("ECS-008")
@pytest.mark.requirement("ECS-009")
def test_every_service_grows_and_shrinks_by_policies_of_its_own(stack: Graph) -> None:
    assert {node.name: node.inputs["resourceId"] for node in stack.of_type(POLICY)} == {
        f"{prefix(stack)}-{name}-scaling-{policy}": resource(stack, name)
        for name, policies in POLICIES.items()
        for policy in policies
    }


def by_steps(graph: Graph, service: str, policy: str) -> tuple[dict[str, str], float, float, float, list[float]]:
    """What is measured, its limit, for how many minutes, the seconds till the next step, and the steps in percent."""
    name = f"{prefix(graph)}-{service}-scaling-{policy}"
    alarm = graph.one(ALARM, name)
    assert alarm.inputs["alarmActions"] == [arn(graph, "appautoscaling", f"{service}-scaling-{policy}")]
    metric = alarm.inputs["metricQueries"][0]["metric"]
    steps = graph.one(POLICY, name).inputs["stepScalingPolicyConfiguration"]
    minutes = alarm.inputs["evaluationPeriods"] * metric["period"] / 60
    percents = [step["scalingAdjustment"] for step in steps["stepAdjustments"]]
    return metric["dimensions"], alarm.inputs["threshold"], minutes, steps["cooldown"], percents


@pytest.mark.requirement("SC-8.1")
@pytest.mark.requirement("SCALE-004")
def test_the_relay_grows_with_its_sessions(stack: Graph) -> None:
    dimensions, limit, _, cooldown, percents = by_steps(stack, "relay", "sessions")
    assert (dimensions, limit, cooldown, percents) == ({"service": "relay"}, 500, 60, [50, 100, 200])


@pytest.mark.requirement("SC-8.2")
@pytest.mark.requirement("SCALE-008")
@pytest.mark.parametrize("service", POLICIES)
def test_services_grow_when_they_are_busy_for_two_minutes(stack: Graph, service: str) -> None:
    of = {"ClusterName": token(stack, "", "name"), "ServiceName": token(stack, service, "name")}
    assert by_steps(stack, service, "cpu") == (of, 70, 2, 60, [25, 50])


@pytest.mark.requirement("SC-8.3")
@pytest.mark.requirement("SC-9.3")
@pytest.mark.requirement("SCALE-009")
@pytest.mark.parametrize(("service", "minutes"), [("relay", 5), ("worker", 3), ("api", 5), ("console", 5)])
def test_services_shrink_when_they_are_quiet(stack: Graph, service: str, minutes: float) -> None:
    of = {"ClusterName": token(stack, "", "name"), "ServiceName": token(stack, service, "name")}
    assert by_steps(stack, service, "quiet") == (of, 1, minutes, 300, [-25])
    *_, value = stack.one(ALARM, f"{prefix(stack)}-{service}-scaling-quiet").inputs["metricQueries"]
    assert value["expression"].startswith("IF(cpu < 30")
    assert value["expression"].endswith(", 1, 0)")


@pytest.mark.requirement("SC-9.1")
@pytest.mark.requirement("SCALE-005")
def test_the_worker_grows_with_its_backlog(prod: Graph) -> None:
    policy = prod.one(POLICY, "smtp-proxy-prod-worker-scaling-backlog")
    tracked = policy.inputs["targetTrackingScalingPolicyConfiguration"]
    metrics = {one["id"]: one for one in tracked["customizedMetricSpecification"]["metrics"]}
    assert tracked["targetValue"] == 1000
    assert metrics["value"]["expression"] == "waiting / running"
    assert metrics["waiting"]["metricStat"]["metric"]["dimensions"] == [
        {"name": "QueueName", "value": token(prod, "delivery", "name")}
    ]


@pytest.mark.requirement("SCALE-006")
def test_the_api_grows_with_requests_to_either_colour(stack: Graph) -> None:
    policy = stack.one(POLICY, f"{prefix(stack)}-api-scaling-requests")
    tracked = policy.inputs["targetTrackingScalingPolicyConfiguration"]
    metrics = tracked["customizedMetricSpecification"]["metrics"]
    assert [one["metricStat"]["metric"]["dimensions"] for one in metrics if "metricStat" in one] == [
        [
            {"name": "LoadBalancer", "value": token(stack, "web", "arn_suffix")},
            {"name": "TargetGroup", "value": target(stack, "api", colour, "arn_suffix")},
        ]
        for colour in ("blue", "green")
    ]


@pytest.mark.requirement("FLOW-INFRA-005")
def test_every_alarm_tells_the_topic(stack: Graph) -> None:
    topic = arn(stack, "sns", "alarms")
    watching = [node for node in stack.of_type(ALARM) if "alarms:Alarms" in node.parent]
    assert len(watching) > 20
    assert {tuple(node.inputs["alarmActions"]) for node in watching} == {(topic,)}
    assert {tuple(node.inputs["okActions"]) for node in watching} == {(topic,)}
    subscribed = [node.inputs for node in stack.of_type("aws:sns/topicSubscription:TopicSubscription")]
    people = {"topic": topic, "protocol": "email", "endpoint": "postmaster@example.com"}
    assert subscribed == ([people] if stack.stack == "prod" else [])


@pytest.mark.requirement("FLOW-INFRA-005")
@pytest.mark.requirement("SC-8.4")
def test_what_is_watched(prod: Graph) -> None:
    def seen(name: str) -> tuple[dict[str, str], float]:
        node = prod.one(ALARM, f"smtp-proxy-prod-{name}")
        return node.inputs["metricQueries"][0]["metric"]["dimensions"], node.inputs["threshold"]

    queues = ("delivery", "events", "outbound", "inbound", "app-orders", "app-support", "app-default")
    assert {queue: seen(f"{queue}-dead-letters") for queue in queues} == {
        queue: ({"QueueName": token(prod, f"{queue}-dead", "name")}, 0) for queue in queues
    }
    assert seen("delivery-depth") == ({"QueueName": token(prod, "delivery", "name")}, 50_000)
    assert seen("ses-bounces") == ({}, 0.05)
    for service, most in (("relay", 20), ("worker", 10)):
        of = {"ClusterName": token(prod, "", "name"), "ServiceName": token(prod, service, "name")}
        assert seen(f"{service}-tasks-at-maximum") == (of, most)


@pytest.mark.requirement("NFR-4")
def test_money_that_runs_away_is_told(stack: Graph) -> None:
    (budget,) = stack.of_type("aws:budgets/budget:Budget")
    assert float(budget.inputs["limitAmount"]) == {"dev": 250, "prod": 600}[stack.stack]
    assert {tuple(one["subscriberSnsTopicArns"]) for one in budget.inputs["notifications"]} == {
        (arn(stack, "sns", "alarms"),)
    }
