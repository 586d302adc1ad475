"""Reads the named statements of a `.sql` file: `-- name --` begins one."""

import re
from pathlib import Path
from typing import LiteralString, cast

from backing.postgres.slow import Statement

_NAME = re.compile(r"^-- (\w+) --$", re.MULTILINE)
# What is only for who reads the file. psycopg keeps what it has made of a statement only up to 4,096 characters.
_FOR_READERS = re.compile(r"^ *--.*\n|^ +", re.MULTILINE)


def statements(module_file: str) -> dict[str, LiteralString]:
    """Give the statements of the `.sql` file beside a module, by name."""
    module, parts = Path(module_file).stem, _NAME.split(Path(module_file).with_suffix(".sql").read_text("utf-8"))
    # psycopg takes only literal text as SQL; a file of the product's own is as good as one.
    return {
        name: cast("LiteralString", Statement.named(f"{module}.{name}", _FOR_READERS.sub("", body).strip()))
        for name, body in zip(parts[1::2], parts[2::2], strict=True)
    }
