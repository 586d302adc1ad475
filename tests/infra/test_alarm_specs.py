"""The table of alarms, without AWS."""

from collections import Counter

import pytest

from infra import config
from infra.alarm_spec import AlarmSpec, rollback_names
from infra.alarms import specs
from infra.alarms_page import example
from infra.project import Project
from infra.readings import Metric, metrics, queries
from infra.settings import ServiceName, Settings

# CloudWatch: metrics in the math of one alarm, and characters of a description.
MOST_QUERIES = 10
# CodeDeploy: alarms of a deployment group.
MOST_ROLLBACK = 10


def settings(stack: str) -> Settings:
    return config.read("smtp-proxy", stack, Project().configuration(stack))


PROD = {spec.name: spec for spec in specs(example(settings("prod")))}
DEV = {spec.name: spec for spec in specs(example(settings("dev")))}
ALL = [*PROD.values(), *DEV.values()]


def goes_off(spec: AlarmSpec) -> tuple[str, int, str]:
    return spec.condition, spec.periods, spec.missing


def test_little_memory_is_told_in_its_own_unit() -> None:
    assert [table["database-memory"].condition for table in (PROD, DEV)] == ["below 0.2 GiB", "below 51 MiB"]


def test_names_are_unique() -> None:
    for table in (PROD, DEV):
        watched = specs(example(settings("prod" if table is PROD else "dev")))
        assert [name for name, times in Counter(spec.name for spec in watched).items() if times > 1] == []


def test_what_counts_nothing_is_never_bad_and_what_must_report_is() -> None:
    assert {name for name, spec in PROD.items() if spec.missing == "breaching"} == {
        "relay-tasks-missing",
        "worker-tasks-missing",
        "api-tasks-missing",
        "console-tasks-missing",
        "relay-silent",
        "worker-silent",
        "api-silent",
        "renewer-silent",
    }
    assert {name for name, spec in PROD.items() if spec.missing == "ignore"} == {
        "ses-bounces",
        "ses-complaints",
        "renewals-fail",
    }


@pytest.mark.requirement("FLOW-INFRA-005")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relay-tasks-missing", ("above 50 %", 2, "breaching")),
        ("relay-tasks-near-maximum", ("at least 16 tasks", 5, "notBreaching")),
        ("delivery-depth", ("above 50000 messages", 2, "notBreaching")),
        ("delivery-age", ("above 300 s", 5, "notBreaching")),
        ("delivery-dead-letters", ("above 0 messages", 1, "notBreaching")),
        ("app-orders-dead-letters", ("above 0 messages", 1, "notBreaching")),
        ("relay-errors", ("above 5 %", 3, "notBreaching")),
        ("worker-errors", ("above 5 %", 3, "notBreaching")),
        ("api-errors", ("above 5 %", 3, "notBreaching")),
        ("console-errors", ("above 5 %", 3, "notBreaching")),
        ("api-slow", ("above 0.3 s", 3, "notBreaching")),
        ("relay-pool-busy", ("above 80 %", 5, "notBreaching")),
        ("api-pool-busy", ("above 80 %", 5, "notBreaching")),
        ("api-cache-away", ("below 1 (1 is up)", 5, "notBreaching")),
        ("console-pool-exhausted", ("at least 1 event", 2, "notBreaching")),
        ("database-storage", ("below 5.0 GiB", 3, "notBreaching")),
        ("database-connections", ("above 320 connections", 5, "notBreaching")),
        ("database-load", ("above 4 sessions", 3, "notBreaching")),
        ("database-credits", ("below 20 credits", 3, "notBreaching")),
        ("ses-bounces", ("above 0.05 of all mail", 1, "ignore")),
        ("ses-complaints", ("above 0.001 of all mail", 1, "ignore")),
        ("cache-cpu", ("above 80 %", 5, "notBreaching")),
        ("nat-ports", ("above 0 errors", 3, "notBreaching")),
        ("balancer-ports", ("above 0 errors", 3, "notBreaching")),
        ("relay-targets-unhealthy", ("above 0 tasks", 5, "notBreaching")),
        ("relay-backpressure", ("at least 1 event", 2, "notBreaching")),
    ],
)
def test_when_an_alarm_goes_off(name: str, expected: tuple[str, int, str]) -> None:
    assert goes_off(PROD[name]) == expected


@pytest.mark.requirement("SC-8.4")
@pytest.mark.parametrize(("service", "most"), [("relay", 20), ("worker", 10), ("api", 10)])
def test_a_service_that_can_grow_no_more_is_told(service: str, most: int) -> None:
    spec = PROD[f"{service}-tasks-at-maximum"]
    assert (spec.condition, spec.severity) == (f"at least {most} tasks", "critical")
    assert isinstance(spec.reading, Metric)
    assert spec.reading.name == "DesiredTaskCount"


def test_a_service_of_fixed_size_is_never_at_its_maximum() -> None:
    assert [name for name in PROD if name.startswith("console-tasks-")] == ["console-tasks-missing"]
    # Two tasks at most: there is nothing between one and the maximum.
    assert [name for name in DEV if name.startswith("relay-tasks-")] == [
        "relay-tasks-missing",
        "relay-tasks-at-maximum",
    ]


@pytest.mark.requirement("SC-6.3")
@pytest.mark.requirement("EC-2")
@pytest.mark.parametrize(
    "name", ["relay-certificate-refused", "relay-pool-exhausted", "worker-pool-exhausted", "api-pool-exhausted"]
)
def test_what_must_not_happen_even_once(name: str) -> None:
    assert (PROD[name].condition, PROD[name].severity) == ("at least 1 event", "critical")


@pytest.mark.requirement("SC-5.3")
@pytest.mark.requirement("EC-5")
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("renewer-silent", ("below 1 run", 2, "breaching")),
        ("renewals-fail", ("at least 3 failures", 1, "ignore")),
        ("renewal-rate-limited", ("at least 1 event", 1, "notBreaching")),
        ("certificate-backup-failed", ("at least 1 event", 1, "notBreaching")),
        ("relay-certificate-bootstrap", ("at least 1 event", 15, "notBreaching")),
    ],
)
def test_what_is_told_of_renewals(name: str, expected: tuple[str, int, str]) -> None:
    assert goes_off(PROD[name]) == expected


def test_a_certificate_is_late_a_week_before_its_end() -> None:
    *inputs, result = queries(PROD["relay-certificate-expiring"].reading)
    assert [query["id"] for query in inputs if "id" in query] == ["expiry"]
    assert result == {"id": "value", "expression": "(expiry - EPOCH(expiry)) / 86400", "return_data": True}
    assert PROD["relay-certificate-expiring"].condition == "below 7 days"


def test_a_share_of_hardly_any_messages_is_no_share() -> None:
    *inputs, result = queries(PROD["relay-errors"].reading)
    everything = "(FILL(accepted, 0) + FILL(deferred, 0) + FILL(refused, 0))"
    assert result == {
        "id": "value",
        "expression": f"IF({everything} > 20, 100 * (FILL(deferred, 0)) / {everything}, 0)",
        "return_data": True,
    }
    assert len(inputs) == 3


def test_without_insights_half_of_the_least_tasks_are_missed() -> None:
    *_, result = queries(DEV["relay-tasks-missing"].reading)
    assert result == {"id": "value", "expression": "100 * (1 - running / 1)", "return_data": True}


def test_each_stack_watches_what_it_has() -> None:
    only_prod, only_dev = PROD.keys() - DEV.keys(), DEV.keys() - PROD.keys()
    assert only_dev == {"cache-throttled"}
    assert {"cache-cpu", "cache-memory", "nat-ports", "inbound-dead-letters", "inbound-age"} <= only_prod


def test_alarms_stay_within_cloudwatchs_limits() -> None:
    assert [spec.name for spec in ALL if len(queries(spec.reading)) > MOST_QUERIES] == []
    assert [spec.name for spec in ALL if not 40 < len(spec.description) <= 1024] == []
    # CloudWatch refuses periods of less than a minute for all but high resolution, and more than a day of evaluation.
    spans = {spec.name: spec.periods * metric.period for spec in ALL for metric in metrics(spec.reading)}
    assert [name for name, seconds in spans.items() if not 60 <= seconds <= 86_400] == []


def test_numbers_of_one_formula_have_one_period() -> None:
    assert [s.name for s in ALL if len({metric.period for metric in metrics(s.reading)}) > 1] == []


@pytest.mark.requirement("ECS-006")
@pytest.mark.parametrize(
    ("service", "names"),
    [
        ("relay", ["relay-errors", "relay-slow"]),
        ("worker", ["worker-errors"]),
        ("api", ["api-errors", "api-slow"]),
        ("console", ["console-errors"]),
    ],
)
def test_what_takes_a_release_back(service: ServiceName, names: list[str]) -> None:
    assert rollback_names("stack", service, list(PROD.values())) == [f"stack-{name}" for name in names]
    assert len(names) <= MOST_ROLLBACK


def test_what_takes_a_release_back_needs_nothing_of_the_service_that_is_released() -> None:
    readings = [metric for spec in ALL if spec.rollback for metric in metrics(spec.reading)]
    assert {metric.namespace for metric in readings} == {"SmtpProxy", "AWS/ApplicationELB"}
