"""The command: shows what `pulumi up` would build, from the real program. No Pulumi CLI, no AWS account, no network."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from infra import graph
from infra.plan.difference import SavedPlanError, difference, saved
from infra.plan.model import Plan, as_json, plan
from infra.plan.switches import switches
from infra.plan.text import SECTIONS, SUMMARY, as_text, head
from infra.project import Project, ProjectError
from infra.reader import ConfigError

_FOUND: Final = 1
_BAD_INPUT: Final = 2
_SWITCHES: Final = "switches"


def main(arguments: Sequence[str] | None = None, project: Project | None = None) -> int:
    """Prints the plan of a stack and returns the exit code: 0, 1 for findings with --strict, 2 for bad input."""
    options = _parser().parse_args(arguments)
    project = project or Project()
    try:
        found = plan(project.name, graph.build(options.stack, project))
        sys.stdout.write(_shown(found, options, project))
    except (ConfigError, ProjectError, SavedPlanError) as error:
        sys.stderr.write(f"{error}\n")
        return _BAD_INPUT
    return _FOUND if options.strict and found.findings else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.plan", description=__doc__)
    parser.add_argument("stack", help="the stack to show, such as prod")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only", choices=[*SECTIONS, _SWITCHES], help="one section, with all its details")
    which.add_argument("--summary", action="store_true", help="the head, the cost and the findings")
    which.add_argument("--json", action="store_true", help="everything, for programs and for --against")
    which.add_argument("--against", type=Path, metavar="FILE", help="what changed since a plan saved with --json")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when there are findings")
    return parser


def _shown(found: Plan, options: argparse.Namespace, project: Project) -> str:
    if options.json:
        return as_json(found)
    if options.against:
        return _page(found, difference(saved(options.against), json.loads(as_json(found))))
    if options.only == _SWITCHES:
        return _page(found, switches(options.stack, project, found.bill.baseline, found.bill.full))
    chosen = [options.only] if options.only else SUMMARY if options.summary else list(SECTIONS)
    return as_text(found, chosen)


def _page(found: Plan, lines: Iterator[str]) -> str:
    return "\n".join([head(found), "", *lines]) + "\n"
