import json
from itertools import combinations
from typing import Any

import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.alarms_page import example
from infra.dashboard import Dashboard, DashboardArgs

Dashboard(
    settings.prefix,
    DashboardArgs(watched=example(settings), region=settings.region, alarm_arns=["relay-impaired", "api-impaired"]),
    opts,
)
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return declare(tmp_path_factory.mktemp("dashboard"), BODY, {"region": "eu-central-1"})


@pytest.fixture(scope="module")
def widgets(graph: Graph) -> list[dict[str, Any]]:
    (node,) = graph.of_type("aws:cloudwatch/dashboard:Dashboard")
    assert node.inputs["dashboardName"] == "smtp-proxy-prod"
    return json.loads(node.inputs["dashboardBody"])["widgets"]


def pictures(widgets: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {widget["properties"]["title"]: widget["properties"] for widget in widgets if widget["type"] == "metric"}


def test_it_keeps_the_contract(graph: Graph) -> None:
    assert {check.__name__: check(graph) for check in contract.ALL} == {check.__name__: [] for check in contract.ALL}


@pytest.mark.requirement("NFR-3")
def test_it_shows_tasks_queues_errors_latency_data_and_cost(widgets: list[dict[str, Any]]) -> None:
    assert list(pictures(widgets)) == [
        "Tasks",
        "CPU, %",
        "Memory of the fullest task, %",
        "Sessions of a relay task",
        "Messages a minute at the relay",
        "Messages deferred, %",
        "Accepting, s",
        "From the 250 to the provider's, s",
        "Attempts at providers, s",
        "Recipients a minute by outcome",
        "Messages waiting",
        "Age of the oldest message, s",
        "Dead letters",
        "Requests a minute: api",
        "Failed requests: api, %",
        "Latency: api, s",
        "Requests a minute: console",
        "Failed requests: console, %",
        "Latency: console, s",
        "Database: CPU, %",
        "Database: connections",
        "Database: latency, s",
        "Cache: CPU, %",
        "Cost of the account this month, $",
    ]


@pytest.mark.requirement("NFR-3")
def test_all_but_the_cost_is_at_most_a_minute_old(widgets: list[dict[str, Any]]) -> None:
    periods = {
        title: {line[-1]["period"] for line in shown["metrics"] if "period" in line[-1]}
        for title, shown in pictures(widgets).items()
    }
    assert periods.pop("Cost of the account this month, $") == {21_600}
    assert set(map(frozenset, periods.values())) == {frozenset({60})}


def test_a_line_in_full(widgets: list[dict[str, Any]]) -> None:
    assert pictures(widgets)["Accepting, s"]["metrics"] == [
        ["SmtpProxy", "relay_accept_seconds", "service", "relay", {"label": stat, "stat": stat, "period": 60}]
        for stat in ("p50", "p95", "p99")
    ]


def test_a_formula_has_names_of_its_own(widgets: list[dict[str, Any]]) -> None:
    *inputs, result = pictures(widgets)["Failed requests: api, %"]["metrics"]
    names = [line[-1]["id"] for line in inputs]
    assert names == [f"line0_{name}_{colour}" for name in ("requests", "failed") for colour in ("blue", "green")]
    assert {line[-1]["visible"] for line in inputs} == {False}
    everything = "(FILL(line0_requests_blue, 0) + FILL(line0_requests_green, 0))"
    failed = "(FILL(line0_failed_blue, 0) + FILL(line0_failed_green, 0))"
    assert result == [
        {"expression": f"IF({everything} > 0, 100 * {failed} / {everything}, 0)", "label": "failed", "id": "line0"}
    ]


def test_widgets_fit_beside_each_other(widgets: list[dict[str, Any]]) -> None:
    cells = [
        {(w["x"] + column, w["y"] + row) for column in range(w["width"]) for row in range(w["height"])} for w in widgets
    ]
    assert [1 for one, other in combinations(cells, 2) if one & other] == []
    assert max(column for covered in cells for column, _ in covered) == 23


def test_alarms_are_lights_at_the_top(widgets: list[dict[str, Any]]) -> None:
    assert widgets[0]["properties"] == {"title": "Alarms", "alarms": ["relay-impaired", "api-impaired"]}
    assert (widgets[0]["x"], widgets[0]["y"]) == (0, 0)


def test_cost_is_asked_where_aws_tells_it(widgets: list[dict[str, Any]]) -> None:
    regions = {title: shown["region"] for title, shown in pictures(widgets).items()}
    assert regions.pop("Cost of the account this month, $") == "us-east-1"
    assert set(regions.values()) == {"eu-central-1"}
