"""What is asked of the control over providers, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol
from uuid import UUID

# Whatever is waited for, asking more often than this is of no use.
SHORTEST_SECONDS: Final = 0.05
Reason = Literal["breaker", "rate", "daily", "concurrency", "limits"]


class Provided(Protocol):
    """A provider's row, as far as it matters here."""

    @property
    def id(self) -> UUID:
        """Which provider."""
        ...

    @property
    def name(self) -> str:
        """What its operator calls it."""
        ...

    @property
    def version(self) -> int:
        """Which configuration; grows with each change."""
        ...

    @property
    def limits(self) -> Mapping[str, Any]:
        """What `mail.limits` reads."""
        ...


@dataclass(frozen=True, slots=True)
class Grant:
    """One attempt may be made now; what came of it is told, or it is given back, once.

    Attributes:
        version: of the provider's configuration.
        recipients: that it is for.
        probe: whether it decides if the provider is used again.
    """

    provider_id: UUID
    version: int
    recipients: int
    probe: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """No attempt may be made now.

    Attributes:
        seconds: until it is worth another try.
        reason: what stands against it.
        text: the same in words, where there is more to say.
    """

    seconds: float
    reason: Reason
    text: str = ""


Admission = Grant | Refusal
