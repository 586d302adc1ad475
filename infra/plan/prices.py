"""Reads the file of prices and assumptions."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

FILE: Final = Path(__file__).with_name("prices.toml")

Load = Literal["baseline", "full"]
LOADS: Final[tuple[Load, Load]] = ("baseline", "full")


class PriceError(LookupError):
    """The file has no such price or assumption."""


@dataclass(frozen=True, kw_only=True)
class Price:
    """What one unit costs, in US dollars, and who says so."""

    dollars: float
    unit: str
    source: str
    date: str


@dataclass(frozen=True, kw_only=True)
class Assumption:
    """What the stack carries, at both loads."""

    baseline: float
    full: float
    what: str


@dataclass(frozen=True, kw_only=True)
class Prices:
    """The file's content."""

    region: str
    date: str
    hours: float
    sources: Mapping[str, str]
    prices: Mapping[str, Price]
    assumptions: Mapping[str, Assumption]

    def price(self, name: str) -> Price:
        """Returns a price by name."""
        if name not in self.prices:
            raise PriceError(f"{FILE.name} has no price {name!r}")
        return self.prices[name]

    def assumed(self, name: str, load: Load) -> float:
        """Returns an assumption by name."""
        if name not in self.assumptions:
            raise PriceError(f"{FILE.name} has no assumption {name!r}")
        found = self.assumptions[name]
        return found.baseline if load == "baseline" else found.full


def read(path: Path = FILE) -> Prices:
    """Returns what a file says."""
    found: Mapping[str, Any] = tomllib.loads(path.read_text("utf-8"))
    return Prices(
        region=found["region"],
        date=found["date"],
        hours=found["hours"],
        sources=found["sources"],
        prices={
            name: Price(dollars=dollars, unit=unit, source=source, date=date)
            for name, (dollars, unit, source, date) in found["prices"].items()
        },
        assumptions={
            name: Assumption(baseline=baseline, full=full, what=what)
            for name, (baseline, full, what) in found["assumptions"].items()
        },
    )
