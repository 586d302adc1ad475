"""The tree of components and resources."""

from collections.abc import Iterator
from typing import Final

from infra.graph import Graph, Node

_COLUMN: Final = 55


def tree(found: Graph) -> Iterator[str]:
    """Yields one line for each node."""
    yield from _branches(found, found.root, "")


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
    count = len(found.children(node.urn))
    notes = [f"{count} resource{'' if count == 1 else 's'}"] if node.is_component else []
    if node.is_component and node.protect:
        notes.append("protected")
    return f"  ({', '.join(notes)})" if notes else ""
