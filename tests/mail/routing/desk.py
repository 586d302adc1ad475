"""Rules and providers as tests of routing write them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from mail.routing.conditions import Question
from mail.routing.documents import parse_rule
from mail.routing.rules import Decision, Plan, Rule
from mail.routing.table import Table, compiled

MESSAGE = UUID(int=99)
TO_A = {"type": "route", "targets": [{"provider": "a"}]}


@dataclass(frozen=True, slots=True)
class Shop:
    """A provider as routing sees it."""

    id: UUID
    name: str
    enabled: bool = True
    allowed_domains: tuple[str, ...] | None = None


A, B, C = (Shop(UUID(int=n), name) for n, name in ((1, "a"), (2, "b"), (3, "c")))


def rule(number: int, *conditions: dict[str, Any], action: dict[str, Any] | None = None, **more: Any) -> Rule:
    document = {"name": f"r{number}", "match": {"all": list(conditions)}, "action": action or TO_A, **more}
    return parse_rule(UUID(int=number), document)


def table(*rules: Rule, default: Shop | None = C, providers: tuple[Shop, ...] = (A, B, C)) -> Table:
    return compiled(rules, providers, default.id if default else None)


def question(mail_from: str = "x@shop.example", **more: Any) -> Question:
    return Question(message_id=more.pop("message_id", MESSAGE), mail_from=mail_from, **more)


def plan(rule_number: int | None, *providers: Shop, **more: Any) -> Decision:
    return Decision(
        UUID(int=rule_number) if rule_number else None, Plan(tuple(provider.id for provider in providers), **more)
    )
