"""The sample as a project of its own: its program is sample_stack, its configuration that of the real stacks."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from infra import graph
from infra.graph import Graph
from infra.project import Project

PROGRAM = "from tests.infra.sample_stack import deploy\n\ndeploy()\n"
WHOLE = "from infra.stack import deploy\n\ndeploy()\n"


def sample(folder: Path, stack: str = "prod", changes: Mapping[str, object] | None = None) -> Graph:
    return graph.build(stack, project(folder, changes))


def project(folder: Path, changes: Mapping[str, object] | None = None, program: str = PROGRAM) -> Project:
    """Writes the sample to a folder; `changes` are values that all its stacks have otherwise."""
    real = Project()
    folder.mkdir(exist_ok=True)
    (folder / "Pulumi.yaml").write_text((real.root / "Pulumi.yaml").read_text())
    for stack in real.stacks:
        chosen = yaml.safe_load((real.root / f"Pulumi.{stack}.yaml").read_text())
        chosen["config"] |= {f"{real.name}:{key}": value for key, value in (changes or {}).items()}
        (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(chosen))
    (folder / "__main__.py").write_text(program)
    return Project(folder)
