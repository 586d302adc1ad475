"""Findings that are meant, each with its reason."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from infra.policy.model import Finding


@dataclass(frozen=True, kw_only=True)
class Acceptance:
    """A finding that is meant: the rule, a pattern of the resource's name, and why. Never one of severity high."""

    rule: str
    name: str
    reason: str


ACCEPTED: Final[tuple[Acceptance, ...]] = (
    Acceptance(
        rule="policy-confused-deputy",
        name="*-access",
        reason="balancers' logs come without a condition key; what they may write names the account in its path",
    ),
)


def acceptance(finding: Finding, acceptances: Sequence[Acceptance] = ACCEPTED) -> Acceptance | None:
    """Returns what accepts a finding; nothing accepts one of severity high."""
    if finding.severity == "high":
        return None
    matching = [one for one in acceptances if one.rule == finding.rule and fnmatchcase(finding.name, one.name)]
    return matching[0] if matching else None
