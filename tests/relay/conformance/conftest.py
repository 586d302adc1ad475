from collections.abc import AsyncIterator

import pytest

from tests.relay.conformance.player import MAX_BYTES, MAX_RECIPIENTS
from tests.relay.house import Files, Running, relay


@pytest.fixture(scope="module")
async def running(files: Files) -> AsyncIterator[Running]:
    """One relay for a module's cases; each case has a connection of its own."""
    async with relay(files, relay_max_message_bytes=MAX_BYTES, relay_max_recipients=MAX_RECIPIENTS) as started:
        yield started
