from collections.abc import Mapping
from typing import Any

import pytest

from infra.graph import Graph
from infra.scaling_policies import BACKLOG_PER_TASK, SESSIONS_PER_TASK
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.alarms_page import example
from infra.scaling import Scaling, ScalingArgs
from infra.scaling_policies import policies

watched = example(settings)
for name, service in watched.services.items():
    Scaling(
        f"smtp-proxy-{name}",
        ScalingArgs(
            service=service.settings,
            cluster_name=service.cluster,
            service_name=service.name,
            policies=policies(watched)[name],
            prewarm=[peak for peak in settings.release.prewarm if peak.service == name],
            forecast="ForecastOnly" if settings.release.predictive_scaling and name == "relay" else None,
        ),
        opts,
    )
"""
PEAK = {"service": "relay", "schedule": "cron(45 7 ? * MON-FRI *)", "timezone": "Europe/Berlin", "tasks": 6}
POLICY = "aws:appautoscaling/policy:Policy"
ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"


@pytest.fixture(scope="module")
def scaling(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    changes = {"prewarm": [PEAK], "predictiveScaling": True}
    return declare(tmp_path_factory.mktemp("scaling"), BODY, changes)


@pytest.fixture(scope="module")
def frugal(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("scaling"), BODY, {"containerInsights": False})


def ecs(service: str, name: str = "CPUUtilization", stat: str = "Average") -> dict[str, Any]:
    namespace = "ECS/ContainerInsights" if name.endswith("TaskCount") else "AWS/ECS"
    return measured(namespace, name, {"ClusterName": "cluster", "ServiceName": service}, stat)


def measured(
    namespace: str, name: str, dimensions: Mapping[str, str], stat: str = "Average", period: int = 60
) -> dict[str, Any]:
    return {"namespace": namespace, "metricName": name, "dimensions": dimensions, "stat": stat, "period": period}


def alarm(graph: Graph, name: str) -> dict[str, Any]:
    """What sets the policy of that name off, and when."""
    node = graph.one(ALARM, f"smtp-proxy-{name}")
    arn = f"arn:aws:appautoscaling:${{region}}:${{account}}:${{smtp-proxy-{name}.arn}}"
    assert node.inputs["alarmActions"] == [arn]
    assert node.inputs["treatMissingData"] == "notBreaching"
    assert node.inputs["datapointsToAlarm"] == node.inputs["evaluationPeriods"]
    return {key: node.inputs[key] for key in ("comparisonOperator", "threshold", "evaluationPeriods", "metricQueries")}


def steps(graph: Graph, name: str) -> list[tuple[int, str, str | None]]:
    node = graph.one(POLICY, f"smtp-proxy-{name}")
    assert node.inputs["policyType"] == "StepScaling"
    configured = node.inputs["stepScalingPolicyConfiguration"]
    assert (configured["adjustmentType"], configured["minAdjustmentMagnitude"]) == ("PercentChangeInCapacity", 1)
    return [
        (step["scalingAdjustment"], step["metricIntervalLowerBound"], step.get("metricIntervalUpperBound"))
        for step in configured["stepAdjustments"]
    ]


def simple(metric: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"id": "value", "metric": metric, "returnData": True}]


def test_it_keeps_the_contract(scaling: Graph) -> None:
    assert {check.__name__: check(scaling) for check in contract.ALL} == {check.__name__: [] for check in contract.ALL}


@pytest.mark.requirement("SCALE-011")
@pytest.mark.requirement("SC-9.2")
def test_no_service_leaves_its_bounds(scaling: Graph) -> None:
    targets = scaling.of_type("aws:appautoscaling/target:Target")
    assert {target.name: target.inputs for target in targets} == {
        f"smtp-proxy-{name}": {
            "serviceNamespace": "ecs",
            "scalableDimension": "ecs:service:DesiredCount",
            "resourceId": f"service/cluster/{name}",
            "minCapacity": least,
            "maxCapacity": most,
        }
        for name, least, most in (("relay", 2, 20), ("worker", 1, 10), ("api", 2, 10), ("console", 2, 2))
    }
    assert [target.ignore_changes for target in targets] == [()] * 4


@pytest.mark.requirement("SCALE-001")
def test_each_service_has_policies_of_its_own(scaling: Graph) -> None:
    policies = {node.name.removeprefix("smtp-proxy-"): node.inputs["resourceId"] for node in scaling.of_type(POLICY)}
    expected = {
        "relay": ("sessions", "cpu", "quiet", "forecast"),
        "worker": ("backlog", "cpu", "quiet"),
        "api": ("requests", "latency", "cpu", "quiet"),
        "console": ("cpu", "quiet"),
    }
    assert policies == {
        f"{service}-{policy}": f"service/cluster/{service}" for service, names in expected.items() for policy in names
    }


@pytest.mark.requirement("SCALE-004")
@pytest.mark.requirement("SC-8.1")
def test_the_relay_grows_within_seconds_of_500_sessions_a_task(scaling: Graph) -> None:
    assert SESSIONS_PER_TASK == 500
    assert alarm(scaling, "relay-sessions") == {
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": 500,
        "evaluationPeriods": 2,
        "metricQueries": simple(measured("SmtpProxy", "relay_sessions", {"service": "relay"}, period=10)),
    }
    assert steps(scaling, "relay-sessions") == [(50, "0", "250"), (100, "250", "500"), (200, "500", None)]


@pytest.mark.requirement("SCALE-008")
@pytest.mark.requirement("SC-8.2")
@pytest.mark.parametrize("service", ["relay", "worker", "api", "console"])
def test_two_minutes_above_70_percent_cpu_add_tasks(scaling: Graph, service: str) -> None:
    assert alarm(scaling, f"{service}-cpu") == {
        "comparisonOperator": "GreaterThanThreshold",
        "threshold": 70,
        "evaluationPeriods": 2,
        "metricQueries": simple(ecs(service)),
    }
    assert steps(scaling, f"{service}-cpu") == [(25, "0", "15"), (50, "15", None)]


REQUESTS = {
    f"requests_{colour}": measured(
        "AWS/ApplicationELB",
        "RequestCountPerTarget",
        {"LoadBalancer": "app/web/1", "TargetGroup": f"targetgroup/api-{colour}/1"},
        "Sum",
    )
    for colour in ("blue", "green")
}
WAITING = measured("AWS/SQS", "ApproximateNumberOfMessagesVisible", {"QueueName": "delivery"}, "Maximum")


@pytest.mark.requirement("SCALE-009")
@pytest.mark.requirement("SC-8.3")
@pytest.mark.requirement("SC-9.3")
@pytest.mark.parametrize(
    ("service", "quiet", "load", "minutes"),
    [
        ("relay", " AND load < 250", {"load": measured("SmtpProxy", "relay_sessions", {"service": "relay"})}, 5),
        (
            "worker",
            " AND waiting / running < 100",
            {"waiting": WAITING, "running": ecs("worker", "RunningTaskCount")},
            3,
        ),
        ("api", " AND FILL(requests_blue, 0) + FILL(requests_green, 0) < 1000", REQUESTS, 5),
        ("console", "", {}, 5),
    ],
)
def test_a_service_shrinks_when_cpu_and_load_were_low_for_minutes(
    scaling: Graph, service: str, quiet: str, load: Mapping[str, Any], minutes: int
) -> None:
    inputs = {"cpu": ecs(service), **load}
    assert alarm(scaling, f"{service}-quiet") == {
        "comparisonOperator": "GreaterThanOrEqualToThreshold",
        "threshold": 1,
        "evaluationPeriods": minutes,
        "metricQueries": [
            *({"id": name, "metric": metric, "returnData": False} for name, metric in inputs.items()),
            {"id": "value", "expression": f"IF(cpu < 30{quiet}, 1, 0)", "returnData": True},
        ],
    }
    assert steps(scaling, f"{service}-quiet") == [(-25, "0", None)]
    cooldown = scaling.one(POLICY, f"smtp-proxy-{service}-quiet").inputs["stepScalingPolicyConfiguration"]["cooldown"]
    assert cooldown == 300


def tracking(graph: Graph, name: str) -> dict[str, Any]:
    node = graph.one(POLICY, f"smtp-proxy-{name}")
    assert node.inputs["policyType"] == "TargetTrackingScaling"
    return node.inputs["targetTrackingScalingPolicyConfiguration"]


def tracked(name: str, metric: Mapping[str, Any]) -> dict[str, Any]:
    dimensions = [{"name": key, "value": value} for key, value in metric["dimensions"].items()]
    named = {"namespace": metric["namespace"], "metricName": metric["metricName"], "dimensions": dimensions}
    return {"id": name, "metricStat": {"metric": named, "stat": metric["stat"]}, "returnData": False}


@pytest.mark.requirement("SCALE-005")
@pytest.mark.requirement("SC-9.1")
def test_the_worker_grows_with_the_backlog_of_each_task(scaling: Graph) -> None:
    assert BACKLOG_PER_TASK == 1000
    assert tracking(scaling, "worker-backlog") == {
        "targetValue": 1000,
        "disableScaleIn": True,
        "scaleOutCooldown": 60,
        "customizedMetricSpecification": {
            "metrics": [
                tracked("waiting", WAITING),
                tracked("running", ecs("worker", "RunningTaskCount")),
                {"id": "value", "expression": "waiting / running", "returnData": True},
            ]
        },
    }


def test_without_insights_tasks_are_counted_by_their_samples(frugal: Graph) -> None:
    running = tracking(frugal, "worker-backlog")["customizedMetricSpecification"]["metrics"][1]
    assert running == tracked("running", ecs("worker", "CPUUtilization", "SampleCount"))


@pytest.mark.requirement("SCALE-006")
def test_the_api_grows_with_requests_over_both_colours(scaling: Graph) -> None:
    assert tracking(scaling, "api-requests") == {
        "targetValue": 2_000,
        "disableScaleIn": True,
        "scaleOutCooldown": 60,
        "customizedMetricSpecification": {
            "metrics": [
                *(tracked(name, metric) for name, metric in REQUESTS.items()),
                {
                    "id": "value",
                    "expression": "FILL(requests_blue, 0) + FILL(requests_green, 0)",
                    "returnData": True,
                },
            ]
        },
    }


@pytest.mark.requirement("SCALE-006")
def test_the_api_grows_when_it_is_slow(scaling: Graph) -> None:
    found = alarm(scaling, "api-latency")
    assert (found["comparisonOperator"], found["threshold"], found["evaluationPeriods"]) == (
        "GreaterThanThreshold",
        0.3,
        3,
    )
    *inputs, result = found["metricQueries"]
    assert [(query["metric"]["metricName"], query["metric"]["stat"]) for query in inputs] == [
        ("TargetResponseTime", "p95")
    ] * 2
    assert result["expression"] == "MAX([FILL(seconds_blue, 0), FILL(seconds_green, 0)])"
    assert steps(scaling, "api-latency") == [(25, "0", "0.7"), (50, "0.7", None)]


@pytest.mark.requirement("SCALE-012")
def test_forecasts_are_made_where_they_are_switched_on(scaling: Graph, frugal: Graph) -> None:
    node = scaling.one(POLICY, "smtp-proxy-relay-forecast")
    assert node.inputs["policyType"] == "PredictiveScaling"
    assert node.inputs["predictiveScalingPolicyConfiguration"] == {
        "mode": "ForecastOnly",
        "maxCapacityBreachBehavior": "HonorMaxCapacity",
        "schedulingBufferTime": 300,
        "metricSpecifications": [
            {
                "targetValue": "60",
                "predefinedMetricPairSpecification": {"predefinedMetricType": "ECSServiceCPUUtilization"},
            }
        ],
    }
    assert [n.name for n in frugal.of_type(POLICY) if n.inputs["policyType"] == "PredictiveScaling"] == []


@pytest.mark.requirement("SCALE-013")
def test_known_peaks_raise_the_least_number_of_tasks(scaling: Graph, frugal: Graph) -> None:
    action = "aws:appautoscaling/scheduledAction:ScheduledAction"
    assert [node.inputs for node in scaling.of_type(action)] == [
        {
            "serviceNamespace": "ecs",
            "scalableDimension": "ecs:service:DesiredCount",
            "resourceId": "service/cluster/relay",
            "schedule": "cron(45 7 ? * MON-FRI *)",
            "timezone": "Europe/Berlin",
            "scalableTargetAction": {"minCapacity": 6, "maxCapacity": 20},
        }
    ]
    assert frugal.of_type(action) == []
