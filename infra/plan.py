"""Shows what `pulumi up` would build, from the real program: no Pulumi CLI, no AWS account, no network."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from infra import graph
from infra.graph import Graph, Node
from infra.project import Project, ProjectError
from infra.reader import ConfigError

_COLUMN = 55
_BAD_INPUT = 2


def main(arguments: Sequence[str] | None = None, project: Project | None = None) -> int:
    """Prints the plan of a stack and returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m infra.plan", description=__doc__)
    parser.add_argument("stack", help="the stack to show, such as prod")
    parser.add_argument("--json", action="store_true", help="print every input and option, for programs")
    options = parser.parse_args(arguments)
    project = project or Project()
    try:
        found = graph.build(options.stack, project)
    except (ConfigError, ProjectError) as error:
        sys.stderr.write(f"{error}\n")
        return _BAD_INPUT
    sys.stdout.write(_as_json(project, found) if options.json else _as_text(project, found))
    return 0


def _as_text(project: Project, found: Graph) -> str:
    lines = [
        f"{project.name} {found.stack}: {len(found.components)} components, {len(found.resources)} resources",
        "",
        *_branches(found, found.root, ""),
        "",
        "exports (${name.attribute} is known once AWS has made it)",
        *(f"  {name:<32}{value}" for name, value in sorted(found.exports.items())),
    ]
    return "\n".join(lines) + "\n"


def _branches(found: Graph, urn: str, indent: str) -> Iterator[str]:
    children = sorted(found.children(urn), key=lambda node: (not node.is_component, node.type, node.name))
    for number, child in enumerate(children, start=1):
        last = number == len(children)
        yield f"{indent}{'└─' if last else '├─'} {_kind(child)}".ljust(_COLUMN) + f"  {child.name}{_note(found, child)}"
        yield from _branches(found, child.urn, indent + ("   " if last else "│  "))


def _kind(node: Node) -> str:
    package, module, name = node.type.split(":")
    return name if node.is_component else f"{package}.{module.partition('/')[0]}.{name}"


def _note(found: Graph, node: Node) -> str:
    notes = [f"{len(found.children(node.urn))} resources"] if node.is_component else []
    if node.is_component and node.protect:
        notes.append("protected")
    return f"  ({', '.join(notes)})" if notes else ""


def _as_json(project: Project, found: Graph) -> str:
    plan = {
        "project": project.name,
        "stack": found.stack,
        "counts": {"components": len(found.components), "resources": len(found.resources)},
        "nodes": [asdict(node) for node in found.nodes],
        "exports": found.exports,
    }
    return json.dumps(plan, indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    sys.exit(main())
