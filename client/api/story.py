"""Tells what became of messages, and what would become of one."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from client.api.output import cell, facts, grid, heading, printable, table

_FACTS: Final = (
    "account",
    "credential",
    "session",
    "mail_from",
    "header_message_id",
    "size",
    "stream",
    "tags",
    "accepted_at",
    "expires_at",
    "duplicate_of",
    "stored",
)
_RECIPIENT: Final = (
    "n",
    "address",
    "state",
    "provider",
    "tries",
    "next_attempt_at",
    "rule",
    "ordered",
    "by_order",
    "reply",
)
_GROUPS: Final[Mapping[str, Sequence[str]]] = {
    "providers": ("name", "states", "count", "p50", "p95", "p99"),
    "domains": ("name", "states"),
}


def story(told: Mapping[str, Any]) -> list[str]:
    """Write a message: how it stands, its recipients, and all that happened to it."""
    if "recipients" not in told:
        return _waiting(told)
    lines = [f"{cell(told['id'])}: {cell(told['state'] or 'duplicate')}", ""]
    lines += grid([(heading(name).lower(), cell(told[name])) for name in _FACTS if told[name] not in (None, "", [])])
    if told["recipients"]:
        shown = [name for name in _RECIPIENT if any(each[name] not in (None, "") for each in told["recipients"])]
        lines += ["", "recipients", *grid(table(shown, told["recipients"]), "  ")]
    lines += ["", "timeline", *grid([_moment(each) for each in told["timeline"]], "  ")]
    return [*lines, "  and more, which is not told"] if told["cut"] else lines


def _waiting(told: Mapping[str, Any]) -> list[str]:
    """Write a message that no worker has taken yet."""
    lines = [f"{cell(told['id'])}: {cell(told['state'])}, and no worker has it yet", ""]
    lines += grid([(heading(name).lower(), cell(told[name])) for name in ("account", "accepted_at") if told[name]])
    orders = grid(table(("what", "n", "provider"), told["orders"]), "  ") if told["orders"] else []
    return [*lines, *(["", "ordered", *orders] if orders else [])]


def _moment(entry: Mapping[str, Any]) -> tuple[str, str, str]:
    return cell(entry["at"]), cell(entry["kind"]), "; ".join(_happened(entry))


def _happened(entry: Mapping[str, Any]) -> Iterator[str]:
    """Say what there is to say of a moment."""
    said = " ".join(cell(entry[name]) for name in ("code", "enhanced", "words") if entry[name] not in (None, ""))
    recipients = None if entry["recipients"] is None else ", ".join(map(str, entry["recipients"]))
    told = (
        ("to {}", recipients),
        ("number {}", entry["attempt"]),
        ("by {}", entry["provider"]),
        ("{}", entry["outcome"]),
        ("{}", said),
        ("as {}", entry["provider_message_id"]),
        ("message {}", entry["message"]),
        ("until {}", entry["ended_at"]),
    )
    for words, value in told:
        if value not in (None, ""):
            yield words.format(cell(value))


def numbers(told: Mapping[str, Any]) -> list[str]:
    """Write the mail of a time: all of it, then by what it has in common."""
    lines = facts({key: value for key, value in told.items() if key not in _GROUPS})
    for group, columns in _GROUPS.items():
        if told[group]:
            rows = table(columns, [{**each, **(each.get("latency") or {})} for each in told[group]])
            lines += ["", group, *grid(rows, "  ")]
    return lines


def traces(told: Mapping[str, Any]) -> list[str]:
    """Write what would be done with a message, and why, recipient by recipient."""
    lines: list[str] = []
    for trace in told["traces"]:
        lines.append(f"{printable(trace['recipient'])}: {_decision(trace['decision'])}")
        rows = [(str(rule["priority"]), printable(rule["name"]), _verdict(rule)) for rule in trace["rules"]]
        lines += grid(rows, "  ") if rows else ["  there are no rules"]
        lines += [
            f"  not asked: {cell(each['provider'])}: {cell(each['reason'])}"
            for each in trace["decision"].get("skipped", ())
        ]
    return lines


def check(told: Mapping[str, Any]) -> list[str]:
    """Write a test of a provider: how it ended, and what was tried, step by step."""
    head = f"{cell(told['provider'])}: {cell(told['state'])}"
    lines = [f"{head}: {printable(told['words'])}" if told["words"] else head]
    if told["steps"]:
        rows = [{**each, "seconds": f"{each['seconds']:.3f}"} for each in told["steps"]]
        lines += ["", *grid(table(("step", "ok", "seconds", "words"), rows), "  ")]
    if told["recipients"]:
        lines += ["", *grid(table(("address", "outcome", "code", "words"), told["recipients"]), "  ")]
    return [*lines, "", f"test {cell(told['id'])}"]


def _decision(course: Mapping[str, Any]) -> str:
    if course["type"] != "send":
        rest = [cell(value) for name, value in course.items() if name != "type" and value is not None]
        return " ".join([course["type"], *rest])
    names = ", then ".join(printable(each["name"]) for each in course["providers"]) or "no provider"
    redirected = f", redirected to {printable(course['redirect_to'])}" if course["redirect_to"] else ""
    return f"send by {names}{redirected}"


def _verdict(rule: Mapping[str, Any]) -> str:
    if rule["decides"]:
        return "decides"
    if not rule["enabled"]:
        return "is disabled"
    return f"does not match: {printable(rule['unmet'])}" if rule["unmet"] else "matches, after another one decided"
