import os

import pytest

from tests.contract.tasks import built


@pytest.fixture(scope="session")
def stacks() -> None:
    """Builds the stacks while the environment is as it is."""
    for stack in ("dev", "prod"):
        built(stack)


@pytest.fixture(params=["dev", "prod"])
def stack(request: pytest.FixtureRequest, stacks: None) -> str:  # noqa: ARG001 - built before anything is untold
    return str(request.param)


@pytest.fixture
def nothing_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:  # noqa: TID251 - a container has nothing of ours
        monkeypatch.delenv(name)
