import asyncio
from collections.abc import Callable

from infra import graph
from infra.graph import Graph


def test_the_graph_is_built_wherever_asyncio_was_used_before(built: Callable[[str], Graph]) -> None:
    asyncio.run(asyncio.sleep(0))
    again = graph.build("dev")
    assert again.resources
    assert again == built("dev")
