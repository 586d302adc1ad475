"""The rules of the house that no linter knows."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
ROOMS = ("mail", "backing", "relay", "worker", "web", "local", "client", "infra")
HARD_LIMIT = 400
TRACKED = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    if (ROOT / name).is_file()
]
REQUIREMENTS = {
    identifier for area in yaml.safe_load((ROOT / "docs/requirements.yaml").read_text()).values() for identifier in area
}


def python_files(*folders: str) -> list[Path]:
    return [path for path in TRACKED if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in folders]


def test_no_module_is_longer_than_the_hard_limit() -> None:
    long = {
        str(path.relative_to(ROOT)): lines
        for path in python_files(*ROOMS, "tests", "docs", "bench")
        if (lines := len(path.read_text().splitlines())) > HARD_LIMIT
    }
    assert long == {}


def test_the_environment_is_read_in_settings_only() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for path in python_files("mail", "backing", "relay", "worker", "web")
        if re.search(r"os\.(environ|getenv)", path.read_text())
    ]
    assert readers == []


def marked_requirements(path: Path) -> list[str]:
    return [
        argument.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "requirement"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def test_every_requirement_that_a_test_names_exists() -> None:
    unknown = {
        (str(path.relative_to(ROOT)), identifier)
        for path in python_files("tests")
        for identifier in marked_requirements(path)
        if identifier not in REQUIREMENTS
    }
    assert unknown == set()


def test_every_test_file_is_collected() -> None:
    misnamed = [
        str(path.relative_to(ROOT))
        for path in python_files("tests")
        if "def test_" in path.read_text() and not path.name.startswith("test_")
    ]
    assert misnamed == []


@pytest.mark.requirement("TLS-012")
def test_no_private_key_and_no_credential_is_under_version_control() -> None:
    secret = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{40}|AKIA[0-9A-Z]{16}")
    assert [str(path.relative_to(ROOT)) for path in TRACKED if secret.search(path.read_bytes())] == []


def test_the_lock_names_only_the_public_index() -> None:
    lock = tomllib.loads((ROOT / "uv.lock").read_text())
    sources = {package["source"].get("registry") for package in lock["package"] if "registry" in package["source"]}
    assert sources == {"https://pypi.org/simple"}


def test_every_relative_link_of_the_documentation_leads_somewhere() -> None:
    broken = [
        (str(page.relative_to(ROOT)), link)
        for page in TRACKED
        if page.suffix == ".md"
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]
    assert broken == []


def test_every_make_target_that_the_documentation_names_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {
        target
        for page in TRACKED
        if page.suffix == ".md"
        for target in re.findall(r"(?:`|\$ )make ([a-z]+)", page.read_text())
    }
    assert named - targets == set()
