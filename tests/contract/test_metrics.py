"""Alarms, scaling and the dashboard look at metrics that the process they name writes, with its labels."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

from backing import metrics as declared
from infra import alarms, config, dashboard, scaling_policies
from infra.alarms_page import example
from infra.project import Project
from infra.readings import Formula, Reading, metrics
from infra.watched import NAMESPACE

ROOT: Final = Path(__file__).parents[2]
# Where each process's code is, by the name that it writes its metrics under.
CODE: Final[Mapping[str, str]] = {
    "relay": "relay",
    "worker": "worker",
    "api": "web",
    "console": "web",
    "renewer": "worker/certificates",
}
QUERY: Final = re.compile(r'SELECT \w+\((\w+)\) FROM SCHEMA\("([^"]+)", ([\w, ]+)\)')


def readings() -> Iterator[tuple[str, Reading]]:
    for stack in ("dev", "prod"):
        watched = example(config.read("smtp-proxy", stack, Project().configuration(stack)))
        for spec in alarms.specs(watched):
            yield f"alarm {spec.name}", spec.reading
        for service, policies in scaling_policies.policies(watched).items():
            for policy in policies:
                yield f"scaling {service} {policy.name}", policy.reading
        for picture in dashboard.graphs(watched):
            for label, reading in picture.lines.items():
                yield f"dashboard {picture.title}, {label}", reading


OWN: Final = {
    (place, metric.name, tuple(sorted((key, str(value)) for key, value in metric.dimensions.items())))
    for place, reading in readings()
    for metric in metrics(reading)
    if metric.namespace == NAMESPACE
}


@cache
def written(service: str) -> Mapping[str, frozenset[str]]:
    """The metrics of a process by name, as CloudWatch gets them, with their labels."""
    sources = "".join(path.read_text("utf-8") for path in sorted((ROOT / CODE[service]).rglob("*.py")))
    names = {name for name in vars(declared) if name.endswith("Metrics") and re.search(rf"\b{name}\(", sources)}
    return {name: labels for each in names for name, labels in family(each)}


def family(name: str) -> Iterator[tuple[str, frozenset[str]]]:
    registry = CollectorRegistry()
    make: Any = getattr(declared, name)
    made = make(registry, dict) if name == "PoolMetrics" else make(registry)
    # A family tells its labels only once used.
    labels = {each._name: each._labelnames for each in vars(made).values() if isinstance(each, MetricWrapperBase)}  # noqa: SLF001
    for found in registry.collect():
        used = found.samples[0].labels.keys() - {"le"} if found.samples else ()
        yield found.name + ("_total" if found.type == "counter" else ""), frozenset(labels.get(found.name) or used)


def test_each_of_the_three_looks_at_metrics_of_the_program() -> None:
    assert {place.partition(" ")[0] for place, _, _ in OWN} == {"alarm", "scaling", "dashboard"}
    assert {dict(dimensions)["service"] for _, _, dimensions in OWN} == CODE.keys()
    assert len({name for _, name, _ in OWN}) > 18


@pytest.mark.requirement("CORE-OPS-003")
def test_every_metric_is_one_that_the_process_writes_with_these_labels() -> None:
    wrong = []
    for place, name, dimensions in OWN:
        labels = {key for key, _ in dimensions}
        known = written(dict(dimensions)["service"]).get(name)
        if known is None or labels != known | {"service"}:
            wrong.append((place, name, sorted(labels), known))
    assert wrong == []


def test_a_query_names_a_metric_and_all_its_labels() -> None:
    asked = {reading.expression for _, reading in readings() if isinstance(reading, Formula) and not reading.inputs}
    found = [match.groups() for text in asked if (match := QUERY.fullmatch(text))]
    assert len(found) == len(asked) == 1
    for name, namespace, labels in found:
        assert namespace == NAMESPACE
        assert set(labels.split(", ")) == {"service", *written("worker")[name]}


def test_every_value_of_a_label_is_one_the_program_counts_under() -> None:
    rooms = [
        path for room in ("backing", "mail", "relay", "worker", "web") for path in ROOT.joinpath(room).rglob("*.py")
    ]
    source = "".join(path.read_text("utf-8") for path in rooms)
    values = {value for _, _, dimensions in OWN for label, value in dimensions if label != "service"}
    assert len(values) > 10
    assert [value for value in values if f'"{value}"' not in source] == []


def test_a_name_that_nothing_writes_is_noticed() -> None:
    assert "web_cache_up" in written("api")
    assert "relay_sessions" not in written("api")
    assert written("relay")["relay_messages_total"] == {"result"}
