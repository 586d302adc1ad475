import socket
from contextlib import closing

from local import ports


def test_taken_ports_give_way_to_free_ones_and_all_differ() -> None:
    block = ports.reserve()
    with closing(block.guard), closing(socket.create_server((ports.LOOPBACK, 0))) as other:
        taken = other.getsockname()[1]
        chosen = ports.choose({"relay": taken, "health": taken}, {}, block)
        assert list(chosen.values()) == list(block.ports[:2])


def test_the_usual_port_is_taken_when_it_is_free() -> None:
    block = ports.reserve()
    with closing(block.guard):
        assert ports.choose({"relay": block.ports[5]}, {}, block) == {"relay": block.ports[5]}


def test_the_port_of_the_last_start_comes_first() -> None:
    block = ports.reserve()
    with closing(block.guard):
        usual, last = block.ports[4:6]
        assert ports.choose({"relay": usual}, {"relay": last}, block) == {"relay": last}
        assert ports.choose({"relay": usual}, {"relay": last}, block, only_free=True) == {"relay": last}
        assert ports.choose({"relay": usual}, {}, block, only_free=True) == {"relay": block.ports[0]}


def test_two_stacks_never_share_a_block() -> None:
    blocks = [ports.reserve() for _ in range(5)]
    numbers = [port for block in blocks for port in block.ports]
    assert len(set(numbers)) == len(numbers)
    for block in blocks:
        block.guard.close()
