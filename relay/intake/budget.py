"""How many octets of messages the task holds in memory for all its sessions together."""


class Budget:
    """Counts the octets of messages that are on their way to the queue.

    Above the limit no new message begins. What has begun may go on for as long as all together stay below one and a
    half times the limit: sessions that started while there was room must not starve each other at once.

    Args:
        limit: octets.

    Attributes:
        held: octets held now.
    """

    __slots__ = ("_limit", "held")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.held = 0

    @property
    def full(self) -> bool:
        """Whether no new message may begin."""
        return self.held >= self._limit

    @property
    def overdrawn(self) -> bool:
        """Whether messages that are coming in must be given up."""
        return self.held > self._limit + self._limit // 2


class Share:
    """What one message has of a budget."""

    __slots__ = ("_budget", "_octets")

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._octets = 0

    def hold(self, octets: int) -> None:
        """Say how many octets the message holds from now on."""
        self._budget.held += octets - self._octets
        self._octets = octets

    @property
    def refused(self) -> bool:
        """Whether the message has to go."""
        return self._budget.overdrawn
