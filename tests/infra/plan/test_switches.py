from pathlib import Path

import pytest

from infra.plan import switches
from infra.plan.switches import SWITCHES
from infra.project import Project
from tests.infra.samples import project


def test_every_switch_is_a_key_of_the_project() -> None:
    known = Project().configuration("prod")
    assert [key for changes in SWITCHES for key in changes if f"smtp-proxy:{key}" not in known] == []


def test_what_a_switch_adds(tmp_path: Path) -> None:
    chosen = [{"waf": True}, {"waf": False}, {"databaseMultiZone": False}]
    lines = list(switches.switches("prod", project(tmp_path), 400.0, 1000.0, chosen))
    assert lines[0] == "switches (what each adds to the cost of a month, at baseline and at full scale)"
    waf, refused = lines[1:]
    assert waf.split()[:2] == ["waf", "true"]
    # The sample costs $411.38 and $1,045.45; a web ACL without rules $5.60 and $11.00.
    assert [float(number) for number in waf.split()[2:]] == pytest.approx([16.98, 56.45], abs=0.01)
    assert refused.startswith("  databaseMultiZone false                     refused: smtp-proxy:databaseMultiZone")
