"""How a decision came about, to be shown."""

from dataclasses import dataclass
from typing import Any

from mail.routing.rules import Decision, Discard, Hold, Plan, Reject, Rule
from mail.routing.ways import Leg


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What became of one rule.

    Attributes:
        decides: whether it is the one that decided.
        unmet: the first condition that does not hold, in words; None where all do.
    """

    rule: Rule
    decides: bool
    unmet: str | None

    @property
    def verdict(self) -> str:
        """What became of it, in words."""
        if self.decides:
            return "decides"
        if not self.rule.enabled:
            return "is disabled"
        return f"does not match: {self.unmet}" if self.unmet else "matches, after another one decided"


@dataclass(frozen=True, slots=True)
class Trace:
    """How a decision came about.

    Attributes:
        steps: all rules in their order.
        legs: the providers of the plan in the order in which they are asked, with their weights.
    """

    recipient: str
    steps: tuple[Step, ...]
    decision: Decision
    legs: tuple[Leg, ...]

    def document(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "recipient": self.recipient,
            "rules": [
                {
                    "id": str(step.rule.id),
                    "name": step.rule.name,
                    "priority": step.rule.priority,
                    "enabled": step.rule.enabled,
                    "matches": step.unmet is None,
                    "decides": step.decides,
                    "unmet": step.unmet,
                }
                for step in self.steps
            ],
            "rule_id": str(self.decision.rule_id) if self.decision.rule_id else None,
            "decision": self._course(),
        }

    def _course(self) -> dict[str, Any]:
        match self.decision.course:
            case Plan() as plan:
                return {
                    "type": "send",
                    "providers": [{"id": str(leg.id), "name": leg.name, "weight": leg.weight} for leg in self.legs],
                    "failover_on": sorted(plan.failover_on),
                    "max_recipients": plan.max_recipients,
                    "redirect_to": plan.redirect_to,
                    "skipped": [{"provider": each.provider, "reason": each.reason} for each in plan.skipped],
                }
            case Reject(code, text, enhanced):
                return {"type": "reject", "code": code, "enhanced": enhanced, "text": text}
            case Hold(reason):
                return {"type": "hold", "reason": reason}
            case Discard():
                return {"type": "discard"}
