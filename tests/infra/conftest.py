from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from infra import graph
from infra.graph import Graph
from infra.project import ROOT
from tests.infra.permissions import Permissions

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pulumi_aws warns about its own old modules while it imports them; the contract tests look for ours.
    old = r"ignore:(aws\.)?(s3|ec2/encryptioncontrol).* has been deprecated in favor of:DeprecationWarning"
    ignored = pytest.mark.filterwarnings(old)
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(ignored)


@pytest.fixture(scope="session", autouse=True)
def outputs_refuse_to_be_text() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")
        yield


@pytest.fixture(scope="session")
def built(outputs_refuse_to_be_text: None) -> Callable[[str], Graph]:  # noqa: ARG001
    """A real stack by its name, built once: it takes seconds."""
    return cache(graph.build)


@pytest.fixture(scope="session", params=["dev", "prod"])
def stack(request: pytest.FixtureRequest, built: Callable[[str], Graph]) -> Graph:
    return built(request.param)


@pytest.fixture(scope="session")
def prod(built: Callable[[str], Graph]) -> Graph:
    return built("prod")


@pytest.fixture(scope="session")
def code() -> Permissions:
    return Permissions(ROOT)
