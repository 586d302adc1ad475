"""The bill as text: a table by component; by itself with every line, price and assumption."""

from collections.abc import Iterator
from typing import Final

from infra.plan.model import Plan

_NAME: Final = 44


def cost(plan: Plan) -> Iterator[str]:
    """Yields dollars a month by component, and the total."""
    bill, prices = plan.bill, plan.prices
    yield f"{f'cost a month, US dollars, list prices of {prices.region} of {prices.date}':<{_NAME + 26}}"[:70].rstrip()
    yield f"  {'component':<{_NAME}}{'baseline':>10}{'full scale':>12}"
    for name, (low, high) in bill.components.items():
        yield f"  {name:<{_NAME}}{low:>10.2f}{high:>12.2f}"
    yield f"  {'total':<{_NAME}}{bill.baseline:>10.2f}{bill.full:>12.2f}"
    mails = prices.assumptions["mails"]
    yield (
        f"  for {mails.baseline:,.0f} and {mails.full:,.0f} mails; each further million ${plan.further_million:,.2f}; "
        "providers' fees are not in it"
    )
    if plan.region != prices.region:
        yield f"  the stack is in {plan.region}, whose prices differ; these are {prices.region}'s"
    yield from (f"  not priced: {what}" for what in bill.unpriced)


def cost_details(plan: Plan) -> Iterator[str]:
    """Yields the table, every line of the bill, and the assumptions behind it."""
    yield from cost(plan)
    yield from _lines(plan)
    yield "assumptions (baseline, full scale)"
    for name, assumed in plan.prices.assumptions.items():
        yield f"  {name:<20}{_number(assumed.baseline):>12}{_number(assumed.full):>12}  {assumed.what}"
    yield "sources of prices"
    yield from (f"  {name:<10}{what}" for name, what in plan.prices.sources.items())


def _lines(plan: Plan) -> Iterator[str]:
    names = {node.urn: node.name for node in plan.graph.nodes}
    yield "lines (resource, price, units at baseline and at full scale, dollars at both)"
    for line in plan.bill.lines:
        price = plan.prices.price(line.price)
        yield (
            f"  {names[line.urn]:<{_NAME}}{line.price:<26}{line.baseline_quantity:>12,.2f}{line.full_quantity:>12,.2f}"
            f"{line.baseline:>10.2f}{line.full:>10.2f}  ${price.dollars:g} per {price.unit} ({price.source})"
        )


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:g}"  # noqa: PLR2004 - how numbers are written
