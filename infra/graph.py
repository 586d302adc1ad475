"""The resources the program declares, recorded in this process: no Pulumi CLI, no AWS account, no network."""

import asyncio
import atexit
import runpy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pulumi
from pulumi.runtime import mocks, settings
from pulumi.runtime.proto import resource_pb2
from pulumi.runtime.rpc import deserialize_properties, is_rpc_secret
from pulumi.runtime.stack import Stack

from infra import symbols
from infra.project import Project

_STACK = "pulumi:pulumi:Stack"
_CODE = "__provider"
HIDDEN = "[secret]"
"""Stands for a value that the program marks as secret: neither shown nor compared."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """One resource or component as it was registered; inputs carry AWS's names."""

    urn: str
    type: str
    name: str
    parent: str
    provider: str
    is_component: bool
    inputs: Mapping[str, Any]
    protect: bool
    ignore_changes: tuple[str, ...]
    depends_on: tuple[str, ...]
    references: Mapping[str, tuple[str, ...]]
    """By property, the URNs of the resources its value is made of."""


@dataclass(frozen=True)
class Graph:
    """Everything one stack declares."""

    stack: str
    root: str
    nodes: tuple[Node, ...]
    exports: Mapping[str, Any]

    @property
    def components(self) -> list[Node]:
        """Our own groupings, which exist in Pulumi only."""
        return [node for node in self.nodes if node.is_component]

    @property
    def resources(self) -> list[Node]:
        """What will exist in AWS."""
        return [node for node in self.nodes if node.type.startswith("aws:")]

    def of_type(self, kind: str) -> list[Node]:
        """Returns the nodes of a type."""
        return [node for node in self.nodes if node.type == kind]

    def one(self, kind: str, name: str) -> Node:
        """Returns the only node of that type and name."""
        (found,) = [node for node in self.of_type(kind) if node.name == name]
        return found

    def children(self, urn: str) -> list[Node]:
        """Returns what hangs directly under a node."""
        return [node for node in self.nodes if node.parent == urn]


class _Symbolic(mocks.Mocks):
    """Answers every resource with tokens that say where a value came from, or with nothing known in a preview."""

    def __init__(self, *, preview: bool) -> None:
        self._preview = preview

    def new_resource(self, args: Any) -> tuple[str | None, dict[str, Any]]:
        inputs: dict[str, Any] = args.inputs
        if self._preview:
            return None, inputs
        return f"${{{args.name}.id}}", _merged(symbols.outputs(args.typ, args.name), inputs)

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], list[tuple[str, str]] | None]:
        raise LookupError(f"the program must not look anything up, but called {args.token}")


def _merged(answers: dict[str, Any], inputs: dict[str, Any]) -> dict[str, Any]:
    """Returns what AWS answers: what it was given, and beside that what it adds, within an object too."""
    both = {key: {**answers[key], **inputs[key]} for key in answers.keys() & inputs if isinstance(answers[key], dict)}
    return answers | inputs | both


class _Monitor(mocks.MockMonitor):
    """Resource options are on the request and nowhere else."""

    def __init__(self, answers: mocks.Mocks) -> None:
        super().__init__(answers)
        self.requests: list[tuple[str, resource_pb2.RegisterResourceRequest]] = []

    def RegisterResource(self, request: resource_pb2.RegisterResourceRequest) -> Any:  # noqa: N802
        response = cast("Any", super()).RegisterResource(request)
        self.requests.append((response.urn, request))
        return response


def build(
    stack: str, project: Project | None = None, *, preview: bool = False, answers: mocks.Mocks | None = None
) -> Graph:
    """Runs the project's real program as the Pulumi CLI would and returns what it declared.

    Args:
        stack: whose configuration it runs with.
        project: where the program is; by default this one.
        preview: nothing is known that AWS has yet to answer.
        answers: what stands in for AWS; by default tokens that say where a value came from.
    """
    project = project or Project()
    configuration = project.configuration(stack)
    _ensure_event_loop()
    monitor = _Monitor(answers or _Symbolic(preview=preview))
    settings.ROOT.set(None)  # or the stack of an earlier run leaks into this one
    pulumi.runtime.set_all_config(configuration)
    mocks.set_mocks(monitor.mocks, project=project.name, stack=stack, preview=preview, monitor=monitor)
    exports: dict[str, Any] = {}

    def program() -> pulumi.Output[None]:
        runpy.run_path(str(project.root / "__main__.py"), run_name="__main__")
        root = settings.get_root_resource()
        declared: Mapping[str, Any] = root.outputs if isinstance(root, Stack) else {}
        return pulumi.Output.all(**declared).apply(exports.update)

    cast("Any", mocks).test(program)()
    (root,) = [urn for urn, request in monitor.requests if request.type == _STACK]
    nodes = [_node(urn, request) for urn, request in monitor.requests if request.type != _STACK]
    return Graph(stack, root, tuple(sorted(nodes, key=lambda node: node.urn)), exports)


def _ensure_event_loop() -> None:
    """Gives Pulumi the current event loop that it takes for granted; whoever ran asyncio before has left none."""
    try:
        loop = asyncio.get_event_loop()
    except (RuntimeError, DeprecationWarning):
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    # Later, when modules are taken down, its sockets may be gone before it, and it complains on standard error.
    atexit.register(loop.close)


def _node(urn: str, request: resource_pb2.RegisterResourceRequest) -> Node:
    return Node(
        urn=urn,
        type=request.type,
        name=request.name,
        parent=request.parent,
        provider=request.provider,
        is_component=not request.custom,
        inputs=_without_secrets(deserialize_properties(request.object)),
        protect=request.protect,
        ignore_changes=tuple(request.ignoreChanges),
        depends_on=tuple(sorted(request.dependencies)),
        references={
            key: tuple(sorted(found.urns)) for key, found in sorted(request.propertyDependencies.items()) if found.urns
        },
    )


def _without_secrets(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_secrets(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    items = cast("dict[str, Any]", value)
    if is_rpc_secret(items):
        return HIDDEN
    # The code of a resource of our own is marked as well, and is none.
    return {key: item if key == _CODE else _without_secrets(item) for key, item in items.items()}
