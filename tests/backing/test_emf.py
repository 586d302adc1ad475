"""Metrics as CloudWatch reads them from the log."""

import asyncio
import json
import math
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from backing.emf import Emf, distribution_of

pytestmark = pytest.mark.anyio

UNITS = {"Seconds", "Bytes", "Count", "None"}


def checked(line: str) -> dict[str, Any]:
    """A line that keeps to the specification of the format."""
    document: dict[str, Any] = json.loads(line)
    assert line.count("\n") == 1
    assert line.endswith("\n")
    assert len(line) < 262_144
    root = document["_aws"]
    assert set(root) == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(root["Timestamp"], int)
    named = set()
    for directive in root["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert 1 <= len(directive["Namespace"]) <= 1024
        assert 1 <= len(directive["Metrics"]) <= 100
        for dimensions in directive["Dimensions"]:
            assert 1 <= len(dimensions) <= 30
            named |= set(dimensions)
            for name in dimensions:
                assert isinstance(document[name], str)
                assert document[name].strip()
        for metric in directive["Metrics"]:
            assert metric.keys() == {"Name", "Unit", "StorageResolution"}
            assert metric["Unit"] in UNITS
            assert metric["StorageResolution"] in {1, 60}
            named.add(metric["Name"])
            check_value(document[metric["Name"]])
    assert set(document) - {"_aws"} == named
    return document


def test_the_namespace_is_the_stacks_own() -> None:
    written = Written()
    Gauge("relay_sessions", "x", registry=written.registry).set(1)
    written.emf.flush()
    (directive,) = json.loads(written.text[0])["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "SmtpProxy/prod"


def check_value(value: Any) -> None:
    if isinstance(value, dict):
        assert set(value) == {"Values", "Counts", "Min", "Max", "Count", "Sum"}
        assert 1 <= len(value["Values"]) == len(value["Counts"]) <= 100
        assert value["Count"] == sum(value["Counts"])
        assert value["Min"] <= value["Max"]
        assert all(math.isfinite(number) for number in value["Values"])
    else:
        assert not isinstance(value, bool)
        assert math.isfinite(value)


class Written:
    """A registry and what was written of it."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.text: list[str] = []
        self.emf = Emf(self.registry, "SmtpProxy/prod", "relay", self.text.append, lambda: 1_700_000_000.5)

    def values(self) -> dict[tuple[str, ...], dict[str, Any]]:
        """What a flush writes now: values by dimensions."""
        self.text.clear()
        self.emf.flush()
        found = {}
        for line in "".join(self.text).splitlines(keepends=True):
            document = checked(line)
            directive = document["_aws"]["CloudWatchMetrics"][0]
            where = tuple(f"{name}={document[name]}" for name in directive["Dimensions"][0])
            found[where] = {metric["Name"]: document[metric["Name"]] for metric in directive["Metrics"]}
        return found


def test_counters_are_written_as_what_came_and_gauges_as_they_are() -> None:
    written = Written()
    shed = Counter("relay_shed", "x", ["reason"], registry=written.registry)
    sessions = Gauge("relay_sessions", "x", registry=written.registry)
    depth = Gauge("relay_queue_depth", "x", registry=written.registry)
    octets = Counter("relay_message_bytes", "x", registry=written.registry)
    shed.labels("queue_depth").inc(3)
    sessions.set(7)
    depth.set(math.nan)
    octets.inc(1000)
    plain, labelled = ("service=relay",), ("service=relay", "reason=queue_depth")
    assert written.values() == {
        plain: {"relay_sessions": 7, "relay_message_bytes_total": 1000},
        labelled: {"relay_shed_total": 3},
    }
    shed.labels("queue_depth").inc(2)
    shed.labels("").inc()
    assert written.values() == {
        plain: {"relay_sessions": 7},
        labelled: {"relay_shed_total": 2},
        ("service=relay", "reason=none"): {"relay_shed_total": 1},
    }
    assert written.values() == {plain: {"relay_sessions": 7}}


def test_a_histogram_is_written_as_values_and_counts_of_what_came() -> None:
    written = Written()
    seconds = Histogram("relay_accept_seconds", "x", buckets=(0.1, 1, 10), registry=written.registry)
    for value in (0.05, 0.5, 0.7, 100):
        seconds.observe(value)
    assert written.values() == {
        ("service=relay",): {
            "relay_accept_seconds": {
                "Values": [0.1, 1.0, 10.0],
                "Counts": [1.0, 2.0, 1.0],
                "Min": 0.0,
                "Max": 10.0,
                "Count": 4.0,
                "Sum": 101.25,
            }
        }
    }
    assert written.values() == {}
    seconds.observe(0.5)
    (only,) = written.values().values()
    assert only["relay_accept_seconds"] == {
        "Values": [1.0],
        "Counts": [1.0],
        "Min": 0.1,
        "Max": 1.0,
        "Count": 1.0,
        "Sum": 0.5,
    }


def test_nothing_above_the_limits_of_a_line() -> None:
    written = Written()
    for number in range(205):
        Gauge(f"gauge_{number}", "x", registry=written.registry).set(number)
    written.emf.flush()
    lines = [checked(line) for line in "".join(written.text).splitlines(keepends=True)]
    assert [len(line["_aws"]["CloudWatchMetrics"][0]["Metrics"]) for line in lines] == [100, 100, 5]
    assert {key for line in lines for key in line if key.startswith("gauge_")} == {f"gauge_{n}" for n in range(205)}

    Gauge("wide", "x", [f"label_{n}" for n in range(30)], registry=written.registry).labels(*"x" * 30).set(1)
    with pytest.raises(ValueError, match="31 dimensions"):
        written.emf.flush()


def test_a_distribution_of_nothing_is_none() -> None:
    assert distribution_of([(1.0, 0.0), (math.inf, 0.0)], 0.0) is None


async def test_the_last_word_is_written_at_the_end() -> None:
    written = Written()
    async with written.emf.running(60):
        Gauge("relay_sessions", "x", registry=written.registry).set(1)
        assert written.text == []
    assert checked(written.text[0])["relay_sessions"] == 1
    assert checked(written.text[0])["_aws"]["Timestamp"] == 1_700_000_000_500


async def test_a_metric_that_cannot_be_told_ends_nothing() -> None:
    written = Written()
    Gauge("broken", "x", registry=written.registry).set_function(lambda: 1 / 0)
    with structlog.testing.capture_logs() as said:
        async with written.emf.running(0.01):
            async with asyncio.timeout(5):
                while not said:  # noqa: ASYNC110 - nothing tells when it was tried
                    await asyncio.sleep(0.01)
    assert said[0]["event"] == "metrics not written"


async def test_zero_seconds_is_never() -> None:
    written = Written()
    Gauge("relay_sessions", "x", registry=written.registry).set(1)
    async with written.emf.running(0):
        pass
    assert written.text == []
