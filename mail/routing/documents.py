"""Rules as documents: what an operator or the API writes down, read and checked key by key."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Final
from uuid import UUID

from mail.addresses import parse_mailbox
from mail.delivery import PROVIDER_TROUBLE, Outcome
from mail.errors import Refused
from mail.routing.matches import parse_match
from mail.routing.reading import (
    BadRule,
    flag,
    list_of,
    names_of,
    number,
    object_of,
    one_of,
    shown,
    words,
)
from mail.routing.rules import Action, Discard, Hold, Redirect, Reject, Route, Rule, Sticky, Target

MAX_RULES: Final = 200
MAX_TARGETS: Final = 10
MAX_WEIGHT: Final = 1000
MAX_PRIORITY: Final = 1_000_000
MAX_RECIPIENTS: Final = 1000
DEFAULT_PRIORITY: Final = 100

# What can be a part of a path, and read aloud; rules are older than this rule, so it is asked of new names only.
NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9 ._-]{0,198}[A-Za-z0-9._-])?")
_PROVIDER: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
# After these a provider may have taken it, so asking another one could send it twice.
_NO_FAILOVER: Final = frozenset({Outcome.ACCEPTED, Outcome.UNKNOWN})
_ROUTE_KEYS: Final = frozenset({"targets", "sticky", "failover", "failover_on", "max_recipients"})


def check_name(name: str) -> None:
    """Check the name that a rule is to get.

    Raises:
        BadRule: it can be none.
    """
    if not NAME.fullmatch(name):
        raise BadRule(
            f"name is {shown(name)}; expected up to 200 letters, digits, blanks and . _ -, and a letter or digit first"
        )


def parse_rule(rule_id: UUID, document: object) -> Rule:
    """Read a rule: `{"name": ..., "priority": 100, "enabled": true, "match": {...}, "action": {...}}`.

    Raises:
        BadRule: saying which key is wrong and what it may be.
    """
    fields = object_of("rule", document, frozenset({"name", "priority", "enabled", "match", "action"}))
    if "name" not in fields:
        raise BadRule("name is missing")
    if "action" not in fields:
        raise BadRule("action is missing; it is an object with a type and what the type needs")
    return Rule(
        rule_id,
        words("name", fields["name"]),
        number("priority", fields.get("priority", DEFAULT_PRIORITY), 0, MAX_PRIORITY),
        flag("enabled", fields.get("enabled", True)),
        parse_match(fields.get("match", {})),
        parse_action(fields["action"]),
    )


def parse_action(document: object) -> Action:
    """Read what is done: `{"type": "route", "targets": [{"provider": "ses-eu", "weight": 80}]}`.

    Raises:
        BadRule: as above.
    """
    kind = document.get("type") if isinstance(document, dict) else None
    if not isinstance(kind, str) or kind not in _ACTIONS:
        raise BadRule(f"action.type is {shown(kind)}; expected one of {names_of(_ACTIONS)}")
    keys, read = _ACTIONS[kind]
    return read(object_of("action", document, keys | {"type"}))


def _route(fields: Mapping[str, Any]) -> Route:
    if not fields.get("targets"):
        raise BadRule("action.targets is missing; name a provider at least")
    return _ways(fields)


def _redirect(fields: Mapping[str, Any]) -> Redirect:
    to = fields.get("to")
    if not isinstance(to, str) or not to.isprintable():
        raise BadRule(f"action.to is {shown(to)}; expected an address")
    try:
        address = str(parse_mailbox(to))
    except Refused as refused:
        raise BadRule(f"action.to is {shown(to)}: {refused.reply.text}") from None
    if not fields.get("targets") and fields.get("failover"):
        raise BadRule("action.failover needs action.targets; without any, the default provider is asked")
    return Redirect(address, _ways(fields))


def _reject(fields: Mapping[str, Any]) -> Reject:
    text = words("action.text", fields.get("text"))
    if not text.isascii():
        raise BadRule(f"action.text is {shown(text)}; an SMTP reply has ASCII letters only")
    return Reject(number("action.code", fields.get("code", 550), 500, 599), text)


def _hold(fields: Mapping[str, Any]) -> Hold:
    return Hold(words("action.reason", fields.get("reason")))


def _discard(_fields: Mapping[str, Any]) -> Discard:
    return Discard()


def _ways(fields: Mapping[str, Any]) -> Route:
    listed = list_of("action.targets", fields.get("targets", []), MAX_TARGETS)
    targets = tuple(_target(f"action.targets[{n}]", each) for n, each in enumerate(listed))
    _once("action.targets", [target.provider for target in targets])
    listed = list_of("action.failover", fields.get("failover", []), MAX_TARGETS)
    failover = tuple(_provider(f"action.failover[{n}]", each) for n, each in enumerate(listed))
    _once("action.failover", failover)
    most = fields.get("max_recipients")
    return Route(
        targets=targets,
        sticky=Sticky(one_of("action.sticky", fields.get("sticky", Sticky.MESSAGE), list(Sticky))),
        failover=failover,
        failover_on=_outcomes(fields.get("failover_on")),
        max_recipients=number("action.max_recipients", most, 1, MAX_RECIPIENTS) if most is not None else None,
    )


def _target(at: str, value: object) -> Target:
    fields = object_of(at, value, frozenset({"provider", "weight"}))
    weight = number(f"{at}.weight", fields.get("weight", 1), 1, MAX_WEIGHT)
    return Target(_provider(f"{at}.provider", fields.get("provider")), weight)


def _provider(at: str, value: object) -> str:
    if not isinstance(value, str) or not _PROVIDER.fullmatch(value):
        raise BadRule(f"{at} is {shown(value)}; expected a provider's name: small letters, digits, dashes")
    return value


def _once(at: str, names: "list[str] | tuple[str, ...]") -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise BadRule(f"{at} names {twice} twice; each provider stands there once")


def _outcomes(value: object) -> frozenset[Outcome]:
    if value is None:
        return PROVIDER_TROUBLE
    allowed = [outcome for outcome in Outcome if outcome not in _NO_FAILOVER]
    listed = list_of("action.failover_on", value, len(allowed))
    return frozenset(Outcome(one_of(f"action.failover_on[{n}]", each, allowed)) for n, each in enumerate(listed))


_ACTIONS: Final[Mapping[str, tuple[frozenset[str], Callable[[Mapping[str, Any]], Action]]]] = {
    "route": (_ROUTE_KEYS, _route),
    "reject": (frozenset({"code", "text"}), _reject),
    "hold": (frozenset({"reason"}), _hold),
    "discard": (frozenset(), _discard),
    "redirect": (_ROUTE_KEYS | {"to"}, _redirect),
}
