"""Providers, rules, simulations and endpoints, as text for people."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mail.routing.rules import Discard, Hold, Plan, Reject
from mail.routing.trace import Trace
from mail.routing.ways import Leg


def providers(rows: Iterable[Mapping[str, Any]]) -> str:
    """Providers, one a line."""
    return table(
        ("PROVIDER", "ACCOUNT", "KIND", "STATE", "SECRET", "LIMITS", "SENDER DOMAINS"),
        [
            (
                row["name"],
                row["account"] or "(shared)",
                row["kind"],
                _state(row),
                "set" if row["secret"] else "-",
                ", ".join(f"{key}={json.dumps(value)}" for key, value in row["limits"].items()) or "-",
                _domains(row),
            )
            for row in rows
        ],
    )


def provider(row: Mapping[str, Any]) -> str:
    """One provider, a fact a line."""
    facts = {
        "Provider": row["name"],
        "Account": row["account"] or "(shared by all)",
        "Kind": row["kind"],
        "State": _state(row),
        "Secret": "set" if row["secret"] else "none",
        "Secret sealed": _sealed(row),
        "Sender domains": _domains(row),
        "Limits": json.dumps(row["limits"]),
        "Config": json.dumps(row["config"]),
        "Version": row["version"],
    }
    return "\n".join(f"{name:<17} {value}" for name, value in facts.items())


def test(row: Mapping[str, Any]) -> str:
    """A test of a provider: how it ended, and what was tried, step by step."""
    outcome = row["outcome"] or {}
    words = shown(outcome.get("words", ""))
    lines = [f"Test {row['id']} of provider {row['provider']}: {row['state']}. {words}".rstrip()]
    steps = [
        (each["step"], "ok" if each["ok"] else "failed", f"{each['seconds']:.3f}", shown(each["words"]))
        for each in outcome.get("steps", ())
    ]
    fates = [
        (each["address"], each["outcome"], str(each["code"] or "-"), shown(each["words"]))
        for each in outcome.get("recipients", ())
    ]
    lines += ["", table(("STEP", "RESULT", "SECONDS", "FOUND"), steps)] if steps else []
    lines += ["", table(("RECIPIENT", "OUTCOME", "CODE", "ANSWER"), fates)] if fates else []
    return "\n".join(lines)


def rules(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rules, one a line, in the order in which they are asked."""
    return table(
        ("PRIORITY", "RULE", "STATE", "WHEN", "THEN"),
        [(str(row["priority"]), row["name"], _state(row), _when(row["match"]), _then(row["action"])) for row in rows],
    )


def traces(several: Sequence[Trace]) -> str:
    """What would be done for each recipient, and why."""
    return "\n\n".join(map(_trace, several))


def endpoints(rows: Iterable[Mapping[str, Any]]) -> str:
    """Endpoints, one a line."""
    return table(
        ("ENDPOINT", "STATE", "WAITING", "FAILING SINCE", "EVENTS", "URL"),
        [
            (
                row["id"],
                _state(row),
                str(row["waiting"]),
                row["failing_since"] or "-",
                _types(row),
                row["url"],
            )
            for row in rows
        ],
    )


def endpoint(row: Mapping[str, Any], posts: Sequence[Mapping[str, Any]]) -> str:
    """One endpoint, a fact a line, and what became of its newest events."""
    facts = {
        "Endpoint": row["id"],
        "URL": row["url"],
        "State": f"disabled: {row['disabled_reason']}" if row["disabled_reason"] else _state(row),
        "Events": _types(row),
        "Waiting": row["waiting"],
        "Failing since": row["failing_since"] or "-",
        "Old secret until": row["rotating_until"] or "-",
        "Secret sealed": _sealed(row),
        "Created": row["created"],
    }
    head = ("TIME", "EVENT", "TYPE", "STATE", "ATTEMPTS", "STATUS", "ANSWER")
    rows = [
        (
            post["time"],
            post["event"],
            post["type"],
            post["state"],
            str(post["attempts"]),
            str(post["last_status"] or "-"),
            shown(post["last_text"] or "-"),
        )
        for post in posts
    ]
    return "\n".join(f"{name:<17} {value}" for name, value in facts.items()) + "\n\n" + table(head, rows)


def _sealed(row: Mapping[str, Any]) -> str:
    return f"{row['secret_sealed_at']} under {row['secret_key']}" if row["secret_sealed_at"] else "-"


def shown(text: str) -> str:
    """What clients and providers say, as a terminal may show it: nothing in it is obeyed."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _types(row: Mapping[str, Any]) -> str:
    return "all" if row["types"] is None else ", ".join(row["types"])


def _trace(trace: Trace) -> str:
    lines = [trace.recipient]
    steps = [(str(step.rule.priority), step.rule.name, step.verdict) for step in trace.steps]
    lines += ["  " + line for line in table(("PRIORITY", "RULE", "VERDICT"), steps).split("\n")] if steps else []
    lines += ["  " + line for line in _course(trace)]
    return "\n".join(lines)


def _course(trace: Trace) -> list[str]:
    by = "" if trace.decision.rule_id else " (no rule decides: the default provider)"
    match trace.decision.course:
        case Reject(code, text, enhanced):
            return [f"is rejected: {code} {enhanced} {text}"]
        case Hold(reason):
            return [f"is held: {reason}"]
        case Discard():
            return ["is discarded"]
        case Plan() as plan:
            to = f" to {plan.redirect_to}" if plan.redirect_to else ""
            lines = [f"goes out{to} through{by}" if plan.providers else f"waits: no provider can take it{by}"]
            lines += [f"  {n}. {leg.name}{_share(leg, trace.legs)}" for n, leg in enumerate(trace.legs, 1)]
            lines += [f"  not {each.provider}: {each.reason}" for each in plan.skipped]
            if len(plan.providers) > 1:
                lines.append(f"  the next one after: {', '.join(sorted(plan.failover_on)) or 'nothing'}")
            return lines


def _share(leg: Leg, legs: Sequence[Leg]) -> str:
    """Why a provider stands where it does; a single one needs no reason."""
    if leg.weight is None:
        return " (failover)"
    total = sum(each.weight or 0 for each in legs)
    return f" (weight {leg.weight}, {leg.weight / total:.0%})" if leg.weight < total else ""


def _when(match: Mapping[str, Any]) -> str:
    conditions = [f"{key} {_alternatives(value)}" for each in match.get("all", []) for key, value in each.items()]
    return " and ".join(conditions) or "always"


def _alternatives(value: Any) -> str:
    several = value if isinstance(value, list) else [value]
    shown = 3
    more = f" or {len(several) - shown} more" if len(several) > shown else ""
    return " or ".join(map(_alternative, several[:shown])) + more


def _alternative(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    return " ".join(str(part) if key == "name" else f"{key} {json.dumps(part)}" for key, part in value.items())


def _then(action: Mapping[str, Any]) -> str:
    targets = ", ".join(f"{each['provider']}:{each.get('weight', 1)}" for each in action.get("targets", []))
    failover = ", ".join(action.get("failover", []))
    parts = [str(action["type"]), str(action.get("to", "")), targets, f"then {failover}" if failover else ""]
    parts += [str(action.get(key, "")) for key in ("code", "text", "reason")]
    return " ".join(filter(None, parts))


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Rows under their heads, each column as wide as it needs."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [" ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) for row in (head, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def _domains(row: Mapping[str, Any]) -> str:
    return "any" if row["allowed_domains"] is None else ", ".join(row["allowed_domains"])


def _state(row: Mapping[str, Any]) -> str:
    return "enabled" if row["enabled"] else "disabled"
