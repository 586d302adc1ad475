"""IAM's own tables as a schema: actions, what they act on, and the conditions they know. No network."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, cast

from policy_sentry.querying.actions import get_action_data

from infra.graph import Node

# AWS: "Inline policies" of a role have 10,240 characters in all, white space aside.
MOST_CHARACTERS = 10_240
_GLOBAL = re.compile(r"aws:[A-Za-z]+")


def problems(node: Node) -> list[str]:
    """Returns what IAM would refuse, or take for something else than was meant."""
    text = str(node.inputs["policy"])
    found = [f"{node.name}: {len(text)} characters"] if len(text) > MOST_CHARACTERS else []
    return found + [f"{node.name}: {problem}" for statement in statements(text) for problem in _statement(statement)]


def statements(document: str) -> list[Mapping[str, Any]]:
    return cast("list[Mapping[str, Any]]", json.loads(document)["Statement"])


def actions(document: str) -> set[str]:
    """Returns the actions that a document allows, without those of keys that are used by way of a service."""
    return {
        action
        for statement in statements(document)
        if "kms:ViaService" not in statement.get("Condition", {}).get("StringEquals", {})
        for action in statement["Action"]
    }


def _statement(statement: Mapping[str, Any]) -> Iterator[str]:
    for action in statement["Action"]:
        rows = _rows(action)
        if not rows:
            yield f"there is no action {action}"
            continue
        formats = {row["resource_arn_format"] for row in rows} - {"*"}
        for resource in statement["Resource"]:
            if formats and not any(_fits(resource, each) for each in formats):
                yield f"{action} does not act on {resource}"
            if not formats and resource != "*":
                yield f"{action} acts on *, not on {resource}"
        yield from _conditions(action, rows, statement.get("Condition", {}))


def _conditions(action: str, rows: list[dict[str, Any]], condition: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    known = {key for row in rows for key in row["condition_keys"]}
    for key in (key for keys in condition.values() for key in keys):
        if key not in known and not _GLOBAL.fullmatch(key):
            yield f"{action} knows no condition {key}"


def _fits(resource: str, pattern: str) -> bool:
    """Says whether a resource, perhaps with wildcards or tokens, is one of the kind."""
    parts = re.split(r"\$\{[A-Za-z]+\}", pattern)
    given = re.sub(r"\$\{[^}]*\}", "x", resource)
    # CloudWatch Logs' own way to write a group with all its streams.
    streams = re.sub(r"(:log-group:[^:]+):\*$", r"\1:log-stream:*", given)
    return any(re.fullmatch(".+".join(map(re.escape, parts)), each) for each in (given, streams))


@cache
def _rows(action: str) -> list[dict[str, Any]]:
    service, _, name = action.partition(":")
    found = get_action_data(service, name) or {}
    return [row for row in found.get(service, []) if str(row["action"]).lower() == action.lower()]
