from collections.abc import AsyncIterator

import pytest

from tests.worker.control.parts import Fleet


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    async with Fleet.running() as fleet:
        yield fleet
