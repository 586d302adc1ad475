"""The command line in a process of its own, and the real API that it calls."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.backing.mailbook import Mailbook
from tests.client.api.terminal import Terminal
from tests.web.conftest import Chosen, chosen, post
from tests.web.house import Door, serving
from tests.worker.telling import LOOPBACK

__all__ = ["chosen", "post"]


@pytest.fixture
def book(database_url: str) -> Mailbook:
    return Mailbook(database_url)


@pytest.fixture
async def door(chosen: Chosen, book: Mailbook) -> AsyncIterator[Door]:  # noqa: ARG001 - its accounts
    async with serving(chosen(web_rate_per_minute=1000, provider_allowed_networks=LOOPBACK)) as serves:
        yield serves


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    return Terminal(tmp_path)


@pytest.fixture
async def tenant(door: Door, terminal: Terminal) -> Terminal:
    """The terminal of one who has a key of the account `shop`."""
    terminal.profile("shop", door.url, await door.key("shop"))
    return terminal


@pytest.fixture
async def operator(door: Door, terminal: Terminal) -> Terminal:
    """The terminal of one who has an operator's key."""
    terminal.profile("operator", door.url, await door.key())
    return terminal
