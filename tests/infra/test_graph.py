import asyncio

from infra import graph


def test_the_graph_is_built_wherever_asyncio_was_used_before() -> None:
    asyncio.run(asyncio.sleep(0))
    built = graph.build("dev")
    assert built.resources
    assert graph.build("dev") == built
