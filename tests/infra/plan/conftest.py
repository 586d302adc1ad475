import pytest

from infra.graph import Graph
from tests.infra.samples import sample


@pytest.fixture(scope="session")
def sample_prod(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return sample(tmp_path_factory.mktemp("sample") / "prod")
