"""Pulumi.yaml and Pulumi.<stack>.yaml, merged the way the Pulumi CLI merges them."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

ROOT = Path(__file__).resolve().parent.parent


class ProjectError(Exception):
    """A project file is missing or cannot be read."""


@dataclass(frozen=True)
class Project:
    """A folder with a Pulumi program."""

    root: Path = ROOT

    @property
    def name(self) -> str:
        """The project's name."""
        return str(self._file("Pulumi.yaml")["name"])

    @property
    def stacks(self) -> list[str]:
        """The stacks that have a file."""
        return sorted(path.name.split(".")[1] for path in self.root.glob("Pulumi.*.yaml"))

    def configuration(self, stack: str) -> dict[str, str]:
        """Returns what the program reads: the stack's values, and the project's where the stack has none."""
        if stack not in self.stacks:
            known = ", ".join(self.stacks) or "none"
            raise ProjectError(f"there is no stack {stack!r}, Pulumi.{stack}.yaml is missing; stacks here: {known}")
        file = self._file("Pulumi.yaml")
        defaults = {
            _full(file["name"], key): entry.get("value", entry.get("default"))
            for key, entry in cast("dict[str, dict[str, object]]", _section(file)).items()
        }
        chosen = _section(self._file(f"Pulumi.{stack}.yaml"))
        merged = defaults | {_full(file["name"], key): value for key, value in chosen.items()}
        return {key: _flat(value) for key, value in merged.items() if value is not None}

    def _file(self, name: str) -> Mapping[str, object]:
        path = self.root / name
        try:
            found: object = yaml.safe_load(path.read_text())
        except (OSError, yaml.YAMLError) as error:
            raise ProjectError(f"{path} cannot be read: {error}") from error
        return cast("dict[str, object]", found) if isinstance(found, dict) else {}


def _section(file: Mapping[str, object]) -> Mapping[str, object]:
    return cast("dict[str, object]", file.get("config") or {})


def _full(project: object, key: str) -> str:
    return key if ":" in key else f"{project}:{key}"


def _flat(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, separators=(",", ":"))
