"""Which AWS actions each process can ask for, read from its code."""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import grimp
from botocore import xform_name

from tests.infra.code import Code, Unit

ROOMS = ("mail", "backing", "relay", "worker", "web")
# Where a process begins, and which modules are its own: all that is in them is taken to run.
PROCESSES = {
    "relay": ("relay.__main__", r"relay\..*"),
    "worker": ("worker.__main__", r"worker\..*"),
    "api": ("web.api.__main__", r"web\..*"),
    "console": ("web.console.__main__", r"web\..*"),
    "renewer": ("worker.certificates.__main__", r"worker\.certificates\..*"),
    "operator": ("backing.__main__", r"backing\.(__main__|commands\..*|admin\..*)"),
    "prepare": ("backing.commands.prepare", r"backing\.commands\.prepare"),
}
# What the operator's command could do too, and is never run for as an operator.
ELSEWHERE = {"operator": {"backing.commands.prepare"}}
# IAM knows fewer actions than there are operations. AWS: "Actions, resources, and condition keys" of each service.
ACTIONS = {
    "sqs:SendMessageBatch": "sqs:SendMessage",
    "sqs:DeleteMessageBatch": "sqs:DeleteMessage",
    "sqs:ChangeMessageVisibilityBatch": "sqs:ChangeMessageVisibility",
    "s3:DeleteObjects": "s3:DeleteObject",
    "s3:CreateMultipartUpload": "s3:PutObject",
    "s3:UploadPart": "s3:PutObject",
    "s3:CompleteMultipartUpload": "s3:PutObject",
}
PREFIXES = {"sesv2": "ses"}
# What a call needs beside the action of its name.
NEEDED_TOO = {
    # SES: a message that is sent as it is, by whichever API.
    "ses:SendEmail": {"ses:SendRawEmail"},
    # S3: "If you don't have the s3:ListBucket permission, Amazon S3 returns 403" for an object that is not there.
    "s3:GetObject": {"s3:ListBucket"},
}
# What is signed or asked for by hand: a text in the code -> the action.
BY_HAND = {
    "elasticache": "elasticache:Connect",
    "/task-protection/v1/state": "ecs:UpdateTaskProtection",
}
BY_NAME = {"generate_db_auth_token": "rds-db:connect"}


@dataclass(frozen=True)
class Operation:
    service: str
    name: str

    @property
    def action(self) -> str:
        action = f"{PREFIXES.get(self.service, self.service)}:{self.name}"
        return ACTIONS.get(action, action)


def processes(root: Path) -> list[str]:
    """Returns the processes that a checkout has."""
    return [name for name, (entry, _) in PROCESSES.items() if (root / f"{entry.replace('.', '/')}.py").exists()]


class Permissions:
    """What the code of a checkout asks AWS for."""

    def __init__(self, root: Path) -> None:
        self._processes = processes(root)
        self.code = Code(root, ROOMS)
        rooms = [room for room in ROOMS if (root / room).is_dir()]
        self._imports = grimp.build_graph(*rooms, exclude_type_checking_imports=True, cache_dir=None)
        opened = (root / "backing/aws.py").read_text()
        self._operations = _operations(tuple(sorted(set(re.findall(r'\.client\(\s*"([a-z0-9]+)"', opened)))))

    def of(self, process: str) -> set[str]:
        """Returns the actions that a process can ask for."""
        called = {action for unit in self._reached(process) for action in self.asked(self.code.units[unit])}
        return called.union(*(NEEDED_TOO.get(action, set()) for action in called))

    def unreached(self) -> list[str]:
        """Returns the functions that ask AWS for something and that no process is seen to run."""
        seen = {unit for process in self._processes for unit in self._reached(process)}
        return sorted(name for name, unit in self.code.units.items() if any(self.asked(unit)) and name not in seen)

    def asked(self, unit: Unit) -> Iterator[str]:
        """Yields the actions that a function asks for itself."""
        if not unit.module.name.startswith("backing"):
            return
        for node in unit.body():
            match node:
                case ast.Attribute(value=ast.Name(id="client") | ast.Attribute(attr="_client"), attr=name):
                    yield from self._by_name(name)
                case ast.Call(
                    func=ast.Attribute(attr="call" | "_call" | "_often"),
                    args=[ast.Constant(value=str() as text), *_],
                ):
                    yield from self._by_name(text)
                case _:
                    pass
            for text in _texts(unit, node):
                if text in BY_HAND:
                    yield BY_HAND[text]
                if text in self._operations.by_path:
                    yield self._operations.by_path[text].action

    def _by_name(self, name: str) -> Iterator[str]:
        if name in BY_NAME:
            yield BY_NAME[name]
        if name in self._operations.by_name:
            yield self._operations.by_name[name].action

    @cache  # noqa: B019 - there are two of these objects in all
    def _reached(self, process: str) -> set[str]:
        entry, own = PROCESSES[process]
        modules = (self._imports.find_upstream_modules(entry) | {entry}) - ELSEWHERE.get(process, set())
        roots = {
            name
            for name, unit in self.code.units.items()
            if unit.module.name in modules and (re.fullmatch(own, unit.module.name) or name == unit.module.name)
        }
        return self.code.reached(roots, modules)


@dataclass(frozen=True)
class Operations:
    by_name: Mapping[str, Operation]
    by_path: Mapping[str, Operation]


def _operations(services: tuple[str, ...]) -> Operations:
    """Returns the operations by both spellings of their names, and those of SES by what is posted where."""
    session = botocore.session.get_session()
    by_name: dict[str, Operation] = {}
    by_path: dict[str, Operation] = {}
    for service in services:
        model: Any = session.get_service_model(service)
        for name in model.operation_names:
            found = Operation(service, name)
            by_name |= {name: found, xform_name(name): found}
            http = model.operation_model(name).http
            if service == "sesv2" and http["method"] == "POST":
                by_path[http["requestUri"]] = found
    return Operations(by_name, by_path)


def _texts(unit: Unit, node: ast.AST) -> Iterator[str]:
    match node:
        case ast.Constant(value=str() as text) if not isinstance(unit.node, ast.Module):
            yield text
        case ast.Name(id=name) if name in unit.module.texts and not isinstance(unit.node, ast.Module):
            yield unit.module.texts[name]
        case _:
            pass
