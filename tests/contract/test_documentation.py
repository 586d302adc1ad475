"""The reference pages say what the code says."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES: dict[Path, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_made_page_is_up_to_date(page: Path) -> None:
    assert page.read_text() == PAGES[page], "run `make docs`"


@pytest.mark.requirement("LOCAL-011")
def test_the_env_example_sets_nothing_and_documents_every_variable() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
    variables = [number for number, line in enumerate(lines) if line.startswith("#") and line[1:2].isupper()]
    assert len(variables) > 30
    assert [lines[n] for n in variables if not lines[n - 1].startswith("# ")] == []
