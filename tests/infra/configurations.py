"""What is wrong with a configuration that differs from that of production in some values."""

import pytest

from infra.config import read
from infra.project import Project
from infra.reader import ConfigError

DEFAULTS = Project().configuration("prod")


def errors(stack: str = "dev", **changes: str) -> str:
    values = DEFAULTS | {f"smtp-proxy:{key}": value for key, value in changes.items()}
    with pytest.raises(ConfigError) as caught:
        read("smtp-proxy", stack, values)
    return str(caught.value)


def one(problem: str) -> str:
    return f"stack dev cannot be built, 1 problem(s) in its configuration:\n- {problem}"
