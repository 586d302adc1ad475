"""The dialogues beside this file, each in both TLS modes."""

from pathlib import Path

import pytest

from tests.relay.conformance.player import play
from tests.relay.conformance.script import Case, read
from tests.relay.house import Running

pytestmark = pytest.mark.anyio
CASES = list(read(Path(__file__).parent))


@pytest.mark.requirement("CORE-SMTP-002")
@pytest.mark.requirement("CORE-SMTP-003")
@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.mode} {case.name}")
async def test_dialogue(running: Running, case: Case) -> None:
    await play(case, running)


def test_there_are_over_two_hundred_cases_each_with_its_own_name_and_rule() -> None:
    names = {case.name for case in CASES}
    assert len({(case.name, case.mode) for case in CASES}) == len(CASES)
    assert len(names) > 200
    assert {mode: sum(case.mode == mode for case in CASES) > 200 for mode in ("starttls", "implicit")} == {
        "starttls": True,
        "implicit": True,
    }
