"""A rule on the operator's command line: its options, and the document they make."""

import argparse
from typing import Any, Final

from backing.admin.rules import Rules
from backing.commands.reading import document, number
from mail.delivery import Outcome
from mail.routing.documents import MAX_PRIORITY, MAX_RECIPIENTS
from mail.routing.matches import MAX_OCTETS
from mail.routing.rules import Sticky

_LIST: Final = ("recipient_domain", "sender_domain", "tag", "stream")
_ACTIONS: Final = "one of --to, --reject, --hold, --discard, --redirect"


def fields(parser: argparse.ArgumentParser) -> None:
    """Say what a rule may be made of."""
    parser.add_argument("--file", metavar="F", help="the rule as a JSON object; - is standard input")
    parser.add_argument("--priority", type=number(0, MAX_PRIORITY), metavar="N", help="the lowest is asked first")
    parser.add_argument("--enabled", action=argparse.BooleanOptionalAction)
    when = parser.add_argument_group(
        "conditions", "all kinds that are given must hold, each for one of its values; headers of several names too"
    )
    for name in _LIST:
        when.add_argument(f"--{name.replace('_', '-')}", action="append", default=[], metavar="X", help="repeatable")
    when.add_argument("--credential", action="append", default=[], metavar="USERNAME", help="repeatable")
    for test, words in (("header", "equals"), ("header-contains", "contains"), ("header-prefix", "begins with")):
        when.add_argument(f"--{test}", action="append", default=[], metavar="NAME=TEXT", help=f"{words}; repeatable")
    when.add_argument("--header-exists", action="append", default=[], metavar="NAME", help="repeatable")
    when.add_argument("--larger-than", type=number(0, MAX_OCTETS), metavar="OCTETS")
    when.add_argument("--smaller-than", type=number(0, MAX_OCTETS), metavar="OCTETS")
    when.add_argument("--always", action="store_true", help="no condition")
    _action(parser.add_argument_group("action"))


def _action(then: "argparse._ArgumentGroup") -> None:
    then.add_argument("--to", action="append", default=[], metavar="PROVIDER[:WEIGHT]", help="repeatable")
    then.add_argument("--sticky", choices=list(Sticky), type=Sticky, help="what a weighted choice stays the same for")
    then.add_argument("--failover", action="append", default=[], metavar="PROVIDER", help="asked next; repeatable")
    then.add_argument("--failover-on", action="append", type=Outcome, metavar="OUTCOME", help="repeatable")
    then.add_argument("--max-recipients", type=number(1, MAX_RECIPIENTS), metavar="N", help="of one sending")
    then.add_argument("--reject", metavar="CODE TEXT", help="fail it, as in '550 not from here'")
    then.add_argument("--hold", metavar="REASON", help="keep it until an operator lets it go")
    then.add_argument("--discard", action="store_true", help="send it nowhere and tell nobody")
    then.add_argument("--redirect", metavar="ADDRESS", help="send to this address instead")


async def rule_document(rules: Rules, asked: argparse.Namespace) -> dict[str, Any]:
    """Give the rule, or the parts of it, that the command line and its file name.

    Raises:
        AdminError: the account has no such credential.
        ValueError: the words do not go together, or the file cannot be read.
    """
    found = _from_file(asked.file) if asked.file else {}
    if asked.priority is not None:
        found["priority"] = asked.priority
    if asked.enabled is not None:
        found["enabled"] = asked.enabled
    conditions = _conditions(asked)
    if asked.credential:
        ids = [str(await rules.credential(asked.account, username)) for username in asked.credential]
        conditions.append({"credential_id": ids})
    if asked.always and conditions:
        raise ValueError("--always and conditions exclude each other")
    if conditions or asked.always:
        found["match"] = {"all": conditions}
    if action := _action_of(asked):
        found["action"] = action
    if asked.verb == "create" and "action" not in found:
        raise ValueError(f"rule create: give {_ACTIONS}, or --file with a whole rule")
    return found


def _from_file(file: str) -> dict[str, Any]:
    """A rule as `rule show` writes it, or as much of it as there is; the command line says which rule it is."""
    return {key: value for key, value in document("--file", file).items() if key not in {"id", "name", "version"}}


def _conditions(asked: argparse.Namespace) -> list[dict[str, Any]]:
    given = vars(asked)
    found: list[dict[str, Any]] = [{name: given[name]} for name in _LIST if given[name]]
    tests: dict[str, list[dict[str, Any]]] = {}
    for option, test in (("header", "equals"), ("header_contains", "contains"), ("header_prefix", "prefix")):
        for name, text in header_texts(f"--{option.replace('_', '-')}", given[option]):
            tests.setdefault(name.lower(), []).append({"name": name, test: text})
    for name in asked.header_exists:
        tests.setdefault(name.lower(), []).append({"name": name, "exists": True})
    found += [{"header": alternatives} for alternatives in tests.values()]
    size = {"gt": asked.larger_than, "lt": asked.smaller_than}
    if any(limit is not None for limit in size.values()):
        found.append({"size": {key: limit for key, limit in size.items() if limit is not None}})
    return found


def header_texts(option: str, given: list[str]) -> list[tuple[str, str]]:
    """Read NAME=TEXT.

    Raises:
        ValueError: one of them is none.
    """
    found = [text.partition("=") for text in given]
    for name, equals, _ in found:
        if not name or not equals:
            raise ValueError(f"{option} {name!r}: expected NAME=TEXT")
    return [(name, text) for name, _, text in found]


def _action_of(asked: argparse.Namespace) -> dict[str, Any]:
    """The action that is named, or nothing."""
    named = [each for each in (asked.reject, asked.hold, asked.discard, asked.redirect or asked.to) if each]
    if len(named) > 1:
        raise ValueError(f"give {_ACTIONS}; only --redirect and --to go together")
    ways = _ways(asked)
    if asked.reject:
        code, _, text = asked.reject.partition(" ")
        return {"type": "reject", "code": int(code) if code.isascii() and code.isdecimal() else code, "text": text}
    if asked.hold:
        return {"type": "hold", "reason": asked.hold}
    if asked.discard:
        return {"type": "discard"}
    if asked.redirect:
        return {"type": "redirect", "to": asked.redirect, **ways}
    if ways and not asked.to:
        raise ValueError("--sticky, --failover, --failover-on and --max-recipients go with --to or --redirect")
    return {"type": "route", **ways} if ways else {}


def _ways(asked: argparse.Namespace) -> dict[str, Any]:
    ways = {
        "targets": [_target(text) for text in asked.to],
        "sticky": asked.sticky,
        "failover": asked.failover,
        "failover_on": asked.failover_on,
        "max_recipients": asked.max_recipients,
    }
    return {key: value for key, value in ways.items() if value}


def _target(text: str) -> dict[str, Any]:
    name, colon, weight = text.partition(":")
    if not colon:
        return {"provider": name}
    return {"provider": name, "weight": int(weight) if weight.isascii() and weight.isdecimal() else weight}
