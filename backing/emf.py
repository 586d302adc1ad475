"""The metrics registry written to standard output for CloudWatch: Embedded Metric Format, read from the log for free.

A line has one set of dimensions, the service and a metric's labels. Counters are written as what came since the last
time, gauges as they are, histograms as values with counts, which CloudWatch makes percentiles of. What did not move is
not written.
"""

import asyncio
import json
import math
import sys
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

# Limits of the format: metrics and dimensions of one line.
MAX_METRICS: Final = 100
MAX_DIMENSIONS: Final = 30
# Seconds; the finest that CloudWatch keeps, and what an alarm of ten seconds needs.
RESOLUTION: Final = 1
# CloudWatch takes no empty dimension.
_EMPTY: Final = "none"

Labels = tuple[tuple[str, str], ...]
# A number, or a distribution.
Value = float | dict[str, Any]


class Emf:
    """Writes a registry as lines of Embedded Metric Format.

    Args:
        registry: what is written.
        namespace: CloudWatch's name for what belongs together, a stack's own.
        service: name of the process, the first dimension of every line.
        write: takes whole lines.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        namespace: str,
        service: str,
        write: Callable[[str], object],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._registry = registry
        self._namespace = namespace
        self._service = service
        self._write = write
        self._clock = clock
        self._before: dict[tuple[str, Labels], float] = {}

    @asynccontextmanager
    async def running(self, seconds: float) -> AsyncIterator["Emf"]:
        """Write every so many seconds until the block ends, and once more then; 0 seconds is never."""
        if not seconds:
            yield self
            return
        async with asyncio.TaskGroup() as tasks:
            writer = tasks.create_task(self._repeat(seconds))
            try:
                yield self
            finally:
                writer.cancel()
                self._try_to_flush()

    def flush(self) -> None:
        """Write what there is now."""
        grouped: defaultdict[Labels, dict[str, Value]] = defaultdict(dict)
        for labels, name, value in self._readings():
            grouped[labels][name] = value
        lines = [line for labels, values in grouped.items() for line in self._lines(labels, values)]
        if lines:
            self._write("".join(lines))

    async def _repeat(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            self._try_to_flush()

    def _try_to_flush(self) -> None:
        try:
            self.flush()
        except Exception:  # noqa: BLE001 - as said below
            # A metric that cannot be told must not end the service that it tells of.
            structlog.get_logger().exception("metrics not written")

    def _readings(self) -> Iterator[tuple[Labels, str, Value]]:
        for family in self._registry.collect():
            if family.type == "histogram":
                yield from self._distributions(family)
            for sample in family.samples:
                labels = tuple(sorted(sample.labels.items()))
                if family.type == "gauge" and math.isfinite(sample.value):
                    yield labels, sample.name, sample.value
                elif family.type == "counter" and sample.name.endswith("_total"):
                    grown = self._growth(sample.name, labels, sample.value)
                    if grown:
                        yield labels, sample.name, grown

    def _distributions(self, family: Metric) -> Iterator[tuple[Labels, str, Value]]:
        buckets: defaultdict[Labels, list[tuple[float, float]]] = defaultdict(list)
        sums: dict[Labels, float] = {}
        for sample in family.samples:
            labels = tuple(sorted(item for item in sample.labels.items() if item[0] != "le"))
            if sample.name.endswith("_bucket"):
                grown = self._growth(sample.name, (*labels, ("le", sample.labels["le"])), sample.value)
                buckets[labels].append((float(sample.labels["le"]), grown))
            elif sample.name.endswith("_sum"):
                sums[labels] = self._growth(sample.name, labels, sample.value)
        for labels, bounds in buckets.items():
            if distribution := distribution_of(sorted(bounds), sums.get(labels, 0.0)):
                yield labels, family.name, distribution

    def _growth(self, name: str, labels: Labels, value: float) -> float:
        grown = value - self._before.get((name, labels), 0.0)
        self._before[name, labels] = value
        return grown

    def _lines(self, labels: Labels, values: dict[str, Value]) -> Iterator[str]:
        dimensions = {"service": self._service} | {name: value or _EMPTY for name, value in labels}
        if len(dimensions) > MAX_DIMENSIONS:
            raise ValueError(f"{len(dimensions)} dimensions; the format has {MAX_DIMENSIONS} at most")
        names = list(values)
        for start in range(0, len(names), MAX_METRICS):
            chosen = names[start : start + MAX_METRICS]
            directive = {
                "Namespace": self._namespace,
                "Dimensions": [list(dimensions)],
                "Metrics": [{"Name": n, "Unit": unit_of(n), "StorageResolution": RESOLUTION} for n in chosen],
            }
            root = {"Timestamp": round(self._clock() * 1000), "CloudWatchMetrics": [directive]}
            yield json.dumps({"_aws": root, **dimensions, **{n: values[n] for n in chosen}}) + "\n"


def distribution_of(buckets: list[tuple[float, float]], total: float) -> dict[str, Any] | None:
    """Make values and counts of the growth of cumulative buckets, or None where nothing came.

    A value counts as the upper bound of its bucket, so that a percentile never looks better than it was; what lies
    above all bounds counts as the highest.

    Args:
        buckets: upper bounds and how many values at or below them came, ascending, the last bound infinite.
        total: sum of the values.
    """
    values, counts, lowest, below, seen = [], [], None, 0.0, 0.0
    for bound, cumulative in buckets:
        count, seen = cumulative - seen, cumulative
        if count > 0:
            lowest = below if lowest is None else lowest
            values.append(bound if math.isfinite(bound) else below)
            counts.append(count)
        below = bound
    if not values:
        return None
    return {
        "Values": values,
        "Counts": counts,
        "Min": min(lowest or 0.0, values[0]),
        "Max": values[-1],
        "Count": seen,
        "Sum": total,
    }


def standard_output(lines: str) -> None:
    """Where the log goes, and whence CloudWatch takes it."""
    sys.stdout.write(lines)
    sys.stdout.flush()


def unit_of(name: str) -> str:
    """Give CloudWatch's name for the unit that a metric's name ends in."""
    stem = name.removesuffix("_total")
    if stem.endswith("_seconds"):
        return "Seconds"
    if stem.endswith("_bytes"):
        return "Bytes"
    return "Count" if stem != name else "None"
