import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from tests.worker.certificates.between import Between, between
from tests.worker.certificates.desk import Desk, environment
from tests.worker.certificates.pebble import Pebble, pebble
from tests.worker.certificates.zone import Zone, served_zone

MakeDesk = Callable[..., Desk]


@pytest.fixture(scope="module")
def zone(moto_url: str) -> Iterator[Zone]:
    with served_zone(moto_url, "example.com") as zone:
        yield zone


@pytest.fixture(scope="module")
def acme(zone: Zone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pebble]:
    with pebble(tmp_path_factory.mktemp("pebble"), zone.server) as running:
        yield running


@pytest.fixture
def make_desk(
    moto_url: str, zone: Zone, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[MakeDesk]:
    def make(acme: Pebble, *names: str) -> Desk:
        given = environment(moto_url, zone, acme, ",".join(names))
        return Desk(given, monkeypatch.setenv, capsys, moto_url, names)

    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield make
    structlog.configure(**before)
    # A handler left behind would go on writing to an output that pytest has closed.
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def front(acme: Pebble, tmp_path: Path) -> Iterator[Between]:
    """The same server, with somebody between who counts and can answer in its stead."""
    with between(acme, tmp_path) as front:
        yield front
