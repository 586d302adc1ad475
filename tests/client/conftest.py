from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.certificates import Authority
from tests.client.postbox import Postbox, postbox


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.at(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def shared_box() -> Iterator[Postbox]:
    with postbox() as box:
        yield box


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def plain() -> Iterator[Postbox]:
    with postbox() as box:
        yield box


@pytest.fixture
def starttls(authority: Authority) -> Iterator[Postbox]:
    with postbox(starttls=authority.context("localhost", "127.0.0.1")) as box:
        yield box


@pytest.fixture
def implicit(authority: Authority) -> Iterator[Postbox]:
    with postbox(implicit=authority.context("localhost")) as box:
        yield box
