"""Who is next where many accounts wait: each gets the same, however many messages it has waiting."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar
from uuid import UUID

T = TypeVar("T")


class FairQueue(Generic[T]):
    """A queue for each account, served in turns by what each account has been given (start-time fair queueing).

    Args:
        weight: an account's share beside that of others, above 0.
    """

    def __init__(self, weight: Callable[[UUID], float]) -> None:
        self._weight = weight
        self._queues: dict[UUID, deque[tuple[int, T]]] = {}
        # What each waiting account has been given, by its weight. One that comes anew begins where the others are, so
        # that nobody saves up turns.
        self._given: dict[UUID, float] = {}
        self._level = 0.0

    def __bool__(self) -> bool:
        return bool(self._queues)

    def __iter__(self) -> Iterator[T]:
        return (item for queue in self._queues.values() for _, item in queue)

    def add(self, account_id: UUID, cost: int, item: T) -> None:
        """Put something at the end of its account's queue."""
        queue = self._queues.get(account_id)
        if queue is None:
            queue = self._queues[account_id] = deque()
            self._given[account_id] = max(self._given.get(account_id, 0.0), self._level)
        queue.append((cost, item))

    def first(self) -> T:
        """What is next; there is something."""
        return self._queues[self._next()][0][1]

    def take(self) -> T:
        """Take what is next, and count it for its account."""
        account_id = self._next()
        queue = self._queues[account_id]
        cost, item = queue.popleft()
        self._level = self._given[account_id]
        self._given[account_id] += cost / self._weight(account_id)
        if not queue:
            self._leave(account_id)
        return item

    def drop(self, account_id: UUID, item: T) -> None:
        """Take something out that is not wanted any more, wherever it is."""
        queue = self._queues.get(account_id)
        if queue is None:
            return
        left = deque(entry for entry in queue if entry[1] is not item)
        self._queues[account_id] = left
        if not left:
            self._leave(account_id)

    def _next(self) -> UUID:
        return min(self._queues, key=self._given.__getitem__)

    def _leave(self, account_id: UUID) -> None:
        del self._queues[account_id]
        if not self._queues:
            self._given.clear()
            self._level = 0.0
        else:
            # One that comes back while others wait has not forgotten what it got.
            self._given = {a: g for a, g in self._given.items() if a in self._queues or g > self._level}
