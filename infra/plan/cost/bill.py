"""The bill of a graph: what each component costs in a month, at baseline and at full scale."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from infra.graph import Graph, Node
from infra.plan.cost.facts import Charge, Facts
from infra.plan.cost.table import FREE, PRICED
from infra.plan.prices import LOADS, Load, PriceError, Prices

# Providers, and steps of the program that run where Pulumi runs.
_NOT_IN_AWS: Final = ("pulumi:providers:", "pulumi-python:dynamic")
_MAILS: Final = "mails"
_MILLION: Final = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Line:
    """What one price makes of one resource in a month: quantities and dollars at both loads."""

    component: str
    urn: str
    price: str
    baseline_quantity: float
    full_quantity: float
    baseline: float
    full: float


@dataclass(frozen=True, kw_only=True)
class Bill:
    """All lines, and what could not be priced."""

    lines: tuple[Line, ...]
    unpriced: tuple[str, ...]

    @property
    def baseline(self) -> float:
        """Dollars a month at baseline."""
        return sum(line.baseline for line in self.lines)

    @property
    def full(self) -> float:
        """Dollars a month at full scale."""
        return sum(line.full for line in self.lines)

    @property
    def components(self) -> Mapping[str, tuple[float, float]]:
        """Dollars at both loads by component, the dearest first."""
        sums: defaultdict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for line in self.lines:
            sums[line.component][0] += line.baseline
            sums[line.component][1] += line.full
        return {name: (low, high) for name, (low, high) in sorted(sums.items(), key=lambda one: -one[1][0])}


def bill(graph: Graph, prices: Prices) -> Bill:
    """Prices every resource of the graph."""
    lines: list[Line] = []
    unpriced: list[str] = []
    for node in graph.nodes:
        if node.is_component or node.type.startswith(_NOT_IN_AWS) or node.type in FREE:
            continue
        if node.type not in PRICED:
            unpriced.append(f"{node.type} ({node.name}): neither priced nor listed as free")
            continue
        try:
            lines += _lines(graph, node, prices)
        except PriceError as missing:
            unpriced.append(f"{node.type} ({node.name}): {missing.args[0]}")
    return Bill(lines=tuple(lines), unpriced=tuple(unpriced))


def further_million(graph: Graph, prices: Prices) -> float:
    """Dollars of one more million mails a month, with the tasks there are."""
    assumed = prices.assumptions[_MAILS]
    more = replace(assumed, baseline=assumed.baseline + _MILLION)
    changed = replace(prices, assumptions={**prices.assumptions, _MAILS: more})
    return bill(graph, changed).baseline - bill(graph, prices).baseline


def _lines(graph: Graph, node: Node, prices: Prices) -> Iterator[Line]:
    found: Mapping[Load, Mapping[str, float]] = {
        load: _quantities(PRICED[node.type](node, Facts(graph, prices, load))) for load in LOADS
    }
    component = outermost(graph, node)
    for name in sorted({*found["baseline"], *found["full"]}):
        dollars = prices.price(name).dollars
        low, high = (_quantity(found, load, name) for load in LOADS)
        if low or high:
            yield Line(
                component=component,
                urn=node.urn,
                price=name,
                baseline_quantity=low,
                full_quantity=high,
                baseline=low * dollars,
                full=high * dollars,
            )


def _quantities(charges: Iterator[Charge]) -> Mapping[str, float]:
    found: defaultdict[str, float] = defaultdict(float)
    for charge in charges:
        found[charge.price] += charge.quantity
    return found


def _quantity(found: Mapping[Load, Mapping[str, float]], load: Load, name: str) -> float:
    return found[load].get(name, 0.0)


def outermost(graph: Graph, node: Node) -> str:
    """Returns the name of the component under the stack that a node belongs to, or the node's own."""
    by_urn = {found.urn: found for found in graph.nodes}
    while node.parent in by_urn:
        node = by_urn[node.parent]
    return node.name
