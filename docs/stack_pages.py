"""The reference pages of the stack on AWS: its configuration, alarms, scaling and policies."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from infra import alarms_page, config, scaling_page
from infra.policy.acceptance import ACCEPTED
from infra.policy.model import Rule
from infra.policy.rules import THEMES
from infra.project import Project
from infra.settings import Settings as StackSettings

ROOT: Final = Path(__file__).parents[1]
MADE: Final = "<!-- Made by `make docs`; change the code, not this page. -->\n"


def alarms() -> str:
    """The page of every alarm of the stack on AWS, and of what to do when it goes off."""
    return "\n".join(["# Alarms", "", MADE, *alarms_page.page(_prod())]) + "\n"


def scaling() -> str:
    """The page of how many tasks each service has, and when that changes."""
    return "\n".join(["# Scaling", "", MADE, *scaling_page.page(_prod())]) + "\n"


def stack() -> str:
    """The page of every key of a stack's configuration, with what each stack of the project has otherwise."""
    text = (ROOT / "Pulumi.yaml").read_text("utf-8")
    declared_keys = yaml.safe_load(text)["config"]
    stacks = Project().stacks
    chosen = {name: _chosen(name) for name in stacks}
    lines = [
        "# Configuration of a stack",
        "",
        MADE,
        "`Pulumi.yaml` has every key with its default, `Pulumi.STACK.yaml` what a stack has otherwise. There a key is",
        "written as `smtp-proxy:KEY`; an editor or `pulumi config set KEY VALUE` sets it. All values are checked",
        "before anything is made, alone and against each other; what is wrong is told together, each with its limit",
        "and what to do. Columns of stacks are empty where the default holds.",
    ]
    for title, keys in _groups(text):
        lines += ["", f"## {title}", ""]
        lines += [f"| key | type | default | {' | '.join(stacks)} | meaning |", "|---" * (4 + len(stacks)) + "|"]
        lines += [_stack_key(key, declared_keys[key], [chosen[name].get(key) for name in stacks]) for key in keys]
    return "\n".join(lines) + "\n"


def _groups(text: str) -> list[tuple[str, list[str]]]:
    """The keys of Pulumi.yaml under the headings that its comments are."""
    groups: list[tuple[str, list[str]]] = []
    for heading, key in re.findall(r"^  (?:# --- ([^:\n]+?)(?::.*)? ---|([a-zA-Z]+):.*)$", text, re.MULTILINE):
        if heading:
            groups.append((heading, []))
        elif groups:
            groups[-1][1].append(key)
    return groups


def _chosen(stack_name: str) -> dict[str, Any]:
    found = yaml.safe_load((ROOT / f"Pulumi.{stack_name}.yaml").read_text("utf-8"))["config"]
    return {key.partition(":")[2]: value for key, value in found.items()}


def _stack_key(key: str, entry: Mapping[str, Any], values: list[Any]) -> str:
    kind = f"array of {entry['items']['type']}s" if entry["type"] == "array" else entry["type"]
    default_value = _yaml(entry["default"]) if "default" in entry else "required"
    shown = " | ".join("" if value is None else _yaml(value) for value in values)
    return f"| `{key}` | {kind} | {default_value} | {shown} | {entry['description']} |"


def _yaml(value: object) -> str:
    """A value as the stack's file has it, on one line."""
    if value == "":
        return "empty"
    return f"`{yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix('...' + chr(10)).strip()}`"


def _prod() -> StackSettings:
    return config.read(Project().name, "prod", Project().configuration("prod"))


def policies() -> str:
    """The page of the rules that no stack may break."""
    lines = [
        "# Policies",
        "",
        MADE,
        "What no stack may break. The rules run in `make plan`, in the tests and under",
        "`pulumi preview --policy-pack infra/policy`. High and medium ones stop a deployment there, low ones are told;",
        "a rule that holds *in production* looks at the stack `prod` only. How to read findings: [plan](../plan.md).",
    ]
    for theme, rules in THEMES.items():
        lines += [
            "",
            f"## {theme}",
            "",
            "| rule | severity | holds | found when | what to do |",
            "|---|---|---|---|---|",
        ]
        lines += [_rule(rule) for rule in rules]
    lines += ["", "## Accepted findings", ""]
    if ACCEPTED:
        lines += ["| rule | resources | why |", "|---|---|---|"]
    lines += [f"| {one.rule} | `{one.name}` | {one.reason} |" for one in ACCEPTED] or ["None."]
    return "\n".join(lines) + "\n"


def _rule(rule: Rule) -> str:
    where = "in production" if rule.production else "always"
    return f"| {rule.name} | {rule.severity} | {where} | {rule.message} | {rule.remedy} |"
