from collections.abc import Iterator
from pathlib import Path

import pytest

from infra import graph
from infra.graph import Graph

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # pulumi_aws warns about its own old S3 modules while it imports them; the contract tests look for ours.
    ignored = pytest.mark.filterwarnings(r"ignore:(aws\.)?s3.* has been deprecated in favor of:DeprecationWarning")
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(ignored)


@pytest.fixture(scope="session", autouse=True)
def outputs_refuse_to_be_text() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PULUMI_ERROR_OUTPUT_STRING", "1")
        yield


@pytest.fixture(scope="session", params=["dev", "prod"])
def stack(request: pytest.FixtureRequest, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return graph.build(request.param)


@pytest.fixture(scope="session")
def prod(outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return graph.build("prod")
