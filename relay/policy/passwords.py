"""Passwords that people chose, checked by a slow hash in a few threads."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from mail.errors import Unavailable

# One check takes about 60 ms and 19 MiB: guesses can have no more than this of the processor and the memory.
THREADS: Final = 2
MAX_WAITING: Final = 32


@dataclass(frozen=True, slots=True)
class Checked:
    """How a check ended, and when its turn came (seconds of `time.monotonic`)."""

    right: bool
    began: float


class Passwords:
    """Checks passwords, a few at a time and in the order they came.

    Args:
        most_waiting: checks that may wait for their turn.

    Attributes:
        runs: how often the slow hash was computed.
    """

    def __init__(self, most_waiting: int = MAX_WAITING) -> None:
        self._most = THREADS + most_waiting
        self._threads = ThreadPoolExecutor(THREADS, "passwords")
        self._under_way = 0
        self._turns: dict[tuple[str, str], asyncio.Future[Checked]] = {}
        self.runs = 0

    async def check(self, phc: str | None, secret: str) -> Checked:
        """Check a password against its hash; those who ask the same at the same time share the answer.

        Without a hash nothing is computed, but the turn is waited for: the time until an answer then does not tell
        whether there was one.

        Raises:
            Unavailable: too many wait already.
        """
        asked = (phc or "", secret)
        turn = self._turns.get(asked)
        if turn is None:
            if self._under_way >= self._most:
                raise Unavailable("too many passwords wait to be checked")
            self._under_way += 1
            self.runs += phc is not None
            turn = asyncio.get_running_loop().run_in_executor(self._threads, _check, phc, secret)
            self._turns[asked] = turn
            turn.add_done_callback(lambda _: self._finish(asked))
        # A session that ends does not make room before its thread does.
        return await asyncio.shield(turn)

    def _finish(self, asked: tuple[str, str]) -> None:
        self._under_way -= 1
        del self._turns[asked]


def _check(phc: str | None, secret: str) -> Checked:
    began = time.monotonic()
    if phc is None:
        return Checked(right=False, began=began)
    try:
        Argon2id.verify_phc_encoded(secret.encode(), phc)
    except InvalidKey:
        return Checked(right=False, began=began)
    return Checked(right=True, began=began)
