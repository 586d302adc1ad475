"""What has to be covered completely is looked at in CI, and nothing is taken out of it."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("backing", "relay", "web", "worker")


def patterns() -> list[str]:
    """Of the paths that `make covered` looks at."""
    (line,) = re.findall(r"^COMPLETE := (\S+)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    return str(line).split(",")


def complete() -> dict[str, list[str]]:
    """The modules that each pattern stands for."""
    modules = [str(file.relative_to(ROOT)) for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]
    return {pattern: [name for name in modules if fnmatch(name, pattern)] for pattern in patterns()}


@pytest.mark.requirement("QG-3")
def test_ci_looks_at_what_is_to_be_covered_completely() -> None:
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert re.findall(r"^make (\w+)$", script, re.MULTILINE) == ["check", "test", "covered"]
    (command,) = re.findall(r"^covered:.*\n\t(.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert command.endswith("coverage report --include='$(COMPLETE)' --precision=2 --fail-under=99.8")


@pytest.mark.requirement("QG-3")
def test_certificates_and_the_end_of_each_process_are_to_be_covered_completely() -> None:
    found = complete()
    assert {pattern for pattern, modules in found.items() if not modules} == set()
    modules = {name for names in found.values() for name in names}
    assert {"backing/stop.py", "relay/server.py", "web/serving.py", "worker/consumer.py"} <= modules
    folders = {str(Path(name).parent) for name in modules if "/certificates/" in name}
    assert folders == {"backing/certificates", "relay/certificates", "worker/certificates"}


@pytest.mark.requirement("QG-3")
def test_no_line_of_it_is_left_out_of_the_count() -> None:
    report = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["coverage"]["report"]
    assert report["fail_under"] == 85
    assert not {"omit", "exclude_lines"} & report.keys()
    sources = {name: (ROOT / name).read_text("utf-8") for names in complete().values() for name in names}
    assert len(sources) > 20
    assert [name for name, source in sources.items() if "no cover" in source or "no branch" in source] == []
