"""Small Pulumi programs around one component, run as the whole stack is."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

import yaml

from infra import graph
from infra.graph import Graph
from infra.project import Project

_HEAD = """
import pulumi, pulumi_aws as aws
from pulumi import Output, ResourceOptions
from infra import config
settings = config.load()
provider = aws.Provider("aws", region="us-east-1")
opts = ResourceOptions(providers=[provider])
"""


def declare(folder: Path, body: str, changes: Mapping[str, object] | None = None, stack: str = "prod") -> Graph:
    """Returns what a program declares.

    Args:
        folder: an empty one, for the program's files.
        body: Python that declares; it finds `pulumi`, `aws`, `Output`, `settings` and `opts`.
        changes: configuration beside that of the stack, without the project's name.
        stack: whose configuration it runs with.
    """
    folder.mkdir(exist_ok=True)
    (folder / "Pulumi.yaml").write_text((Project().root / "Pulumi.yaml").read_text())
    chosen = yaml.safe_load((Project().root / f"Pulumi.{stack}.yaml").read_text())
    chosen["config"] |= {f"{Project().name}:{key}": value for key, value in (changes or {}).items()}
    (folder / f"Pulumi.{stack}.yaml").write_text(yaml.safe_dump(chosen))
    (folder / "__main__.py").write_text(_HEAD + textwrap.dedent(body))
    return graph.build(stack, Project(folder))
