"""How many octets of messages the task holds in memory for all its sessions together."""


class Budget:
    """Counts the octets of messages that are on their way to the queue.

    Above the limit no new message begins. What has begun may go on for as long as all together stay below one and a
    half times the limit: sessions that started while there was room must not starve each other at once.

    Args:
        limit: octets.

    Attributes:
        held: octets held now; each message counts its own.
        most: above this, messages that are coming in must be given up.
    """

    __slots__ = ("_limit", "held", "most")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.most = limit + limit // 2
        self.held = 0

    @property
    def full(self) -> bool:
        """Whether no new message may begin."""
        return self.held >= self._limit
