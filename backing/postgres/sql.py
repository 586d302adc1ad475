"""Reads the named statements of a `.sql` file: `-- name --` begins one."""

import re
from pathlib import Path
from typing import LiteralString, cast

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)


def statements(module_file: str) -> dict[str, LiteralString]:
    """Give the statements of the `.sql` file beside a module, by name."""
    parts = _NAME.split(Path(module_file).with_suffix(".sql").read_text("utf-8"))
    # psycopg takes only literal text as SQL; a file of the product's own is as good as one.
    return {name: cast("LiteralString", body.strip()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
