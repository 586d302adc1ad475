"""Which ports a stack listens on: its usual ones if they are free, else a block of its own."""

import random
import socket
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass

LOOPBACK = "127.0.0.1"
# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux).
BLOCK_RANGE = (20_000, 32_000)
BLOCK_SIZE = 20


class NoFreePorts(Exception):  # noqa: N818 - reads as a sentence where it is raised
    """No block of free ports was found."""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of ports; the socket bound to the first one keeps other stacks away from the rest."""

    guard: socket.socket
    ports: tuple[int, ...]


def is_free(port: int) -> bool:
    """Tell whether a server could listen here now."""
    with closing(socket.socket()) as probe:
        # As servers do: a connection of an earlier server in TIME_WAIT is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen()
        except OSError:
            return False
    return True


def reserve(attempts: int = 200) -> Block:
    """Find a block of free ports and hold it until the guard is closed."""
    first, last = BLOCK_RANGE
    for _ in range(attempts):
        base = random.randrange(first, last, BLOCK_SIZE)  # noqa: S311 - spreads stacks, keeps no secret
        guard = socket.socket()
        try:
            guard.bind((LOOPBACK, base))
        except OSError:
            guard.close()
            continue
        ports = tuple(range(base + 1, base + BLOCK_SIZE))
        if all(map(is_free, ports)):
            return Block(guard, ports)
        guard.close()
    raise NoFreePorts(f"no {BLOCK_SIZE} free ports in a row between {first} and {last}")


def choose(
    wanted: Mapping[str, int], earlier: Mapping[str, int], block: Block, *, only_free: bool = False
) -> dict[str, int]:
    """Give each name the port it had before, or its usual one, or one of the block."""
    spare = iter(block.ports)
    chosen: dict[str, int] = {}
    for name, usual in wanted.items():
        candidates = [earlier[name]] if name in earlier else []
        candidates += [] if only_free else [usual]
        taken = chosen.values()
        fitting = (port for port in candidates if port not in taken and is_free(port))
        chosen[name] = next(fitting, None) or next(port for port in spare if port not in taken)
    return chosen
