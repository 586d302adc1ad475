import pytest
import trustme

from tests.relay.house import Files


@pytest.fixture(scope="session")
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """The loop of production."""
    return "asyncio", {"use_uvloop": True}


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("tls")
    ca = trustme.CA()
    pair = ca.issue_cert("localhost", "127.0.0.1")
    certificate, key = folder / "server.pem", folder / "server.key"
    pair.private_key_pem.write_to_path(key)
    for blob in pair.cert_chain_pems:
        blob.write_to_path(certificate, append=True)
    return Files(ca, certificate, key)
