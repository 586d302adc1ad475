"""An image holds what its process imports: each from the group that names it, or from a package that stands for it."""

import importlib.metadata
import re
import sys
import tomllib
from pathlib import Path
from typing import Any

import grimp
import pytest

ROOMS = ("mail", "backing", "relay", "worker", "web")
PYPROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
# Imported for what the named package hides of them, and always of the release that it needs.
STANDS_FOR = {"aiobotocore": "aioboto3", "botocore": "aioboto3", "sqlalchemy": "alembic", "psycopg-pool": "psycopg"}


def packages(group: str) -> set[str]:
    found: set[str] = set()
    entry: Any
    for entry in PYPROJECT["dependency-groups"][group]:
        if isinstance(entry, dict):
            found |= packages(entry["include-group"])
        else:
            found.add(re.split(r"[^A-Za-z0-9-]", entry)[0])
    return found


@pytest.fixture(scope="module")
def imports() -> grimp.ImportGraph:
    return grimp.build_graph(*ROOMS, include_external_packages=True, exclude_type_checking_imports=True)


@pytest.mark.parametrize(
    ("process", "group"),
    [
        ("relay.__main__", "relay"),
        ("worker.__main__", "worker"),
        ("worker.certificates.__main__", "worker"),
        ("backing.__main__", "worker"),
        ("web.api.__main__", "web"),
        ("web.console.__main__", "web"),
    ],
)
def test_a_process_imports_only_what_its_image_holds(imports: grimp.ImportGraph, process: str, group: str) -> None:
    distributions = importlib.metadata.packages_distributions()
    reached = {module.partition(".")[0] for module in imports.find_upstream_modules(process)}
    foreign = reached - set(ROOMS) - sys.stdlib_module_names
    names = {distributions[module][0].lower().replace("_", "-") for module in foreign}
    assert len(names) > 5
    assert {STANDS_FOR.get(name, name) for name in names} - packages(group) == set()
