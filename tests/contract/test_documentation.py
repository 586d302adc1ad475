"""The reference pages say what the code says."""

import re
import runpy
import time
from pathlib import Path

import pytest
import yaml

from mail.endpoints import secret_text, signature

ROOT = Path(__file__).parents[2]
PAGES: dict[Path, str] = runpy.run_path(str(ROOT / "docs" / "generate.py"))["pages"]()


@pytest.mark.requirement("QG-4")
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


def test_the_page_of_a_stack_has_every_key_once() -> None:
    keys = yaml.safe_load((ROOT / "Pulumi.yaml").read_text("utf-8"))["config"]
    shown = re.findall(r"^\| `([a-zA-Z]+)` \|", PAGES[ROOT / "docs" / "reference" / "stack.md"], re.MULTILINE)
    assert sorted(shown) == sorted(key for key in keys if ":" not in key)


@pytest.mark.requirement("QG-4")
def test_every_link_between_pages_leads_somewhere() -> None:
    found = [(page, link) for page in _written() for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))]
    local = [(page, *link.partition("#")[::2]) for page, link in found if "://" not in link]
    assert len(local) > 50
    assert [
        f"{page.relative_to(ROOT)}: {place}#{heading}"
        for page, place, heading in local
        for target in [page.parent / place if place else page]
        if not target.exists() or (heading and heading not in _headings(target))
    ] == []


def test_the_example_in_python_knows_genuine_posts(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "events.md").read_text("utf-8"), re.DOTALL)
    (tmp_path / "example.py").write_text(code)
    genuine = runpy.run_path(str(tmp_path / "example.py"))["genuine"]
    old, new, other = (secret_text(bytes([octet]) * 32) for octet in range(3))
    now = int(time.time())

    def post(at: int) -> dict[str, str]:
        signed = signature([new, old], "an-id", at, b"{}")
        return {"webhook-id": "an-id", "webhook-timestamp": str(at), "webhook-signature": signed}

    assert [genuine(secret, post(now), b"{}") for secret in (new, old, other)] == [True, True, False]
    assert not genuine(new, post(now), b"{ }")
    assert not genuine(new, post(now - 3600), b"{}")


def _written() -> list[Path]:
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _headings(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
