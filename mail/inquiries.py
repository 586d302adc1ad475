"""Questions to workers about providers, and what an answer says."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

# Of one provider, within so many seconds: nobody gets to hammer a provider through us.
MOST_TESTS: Final = 6
TESTS_SECONDS: Final = 60.0


class InquiryState(StrEnum):
    """How a question stands."""

    WAITING = "waiting"
    TAKEN = "taken"
    DONE = "done"  # answered, and well
    FAILED = "failed"  # answered, and not well
    UNKNOWN = "unknown"  # a mail may have been sent, and nobody knows


OPEN: Final = frozenset({InquiryState.WAITING, InquiryState.TAKEN})


@dataclass(frozen=True, slots=True)
class Finding:
    """A step that was made, and what came of it.

    Attributes:
        step: what was tried.
        seconds: how long it took.
        words: what was found, or why not.
    """

    step: str
    ok: bool
    seconds: float
    words: str


@dataclass(frozen=True, slots=True)
class Fate:
    """What the provider said of the recipient of a test mail; fields as in `RecipientResult`."""

    address: str
    outcome: str
    code: int | None
    enhanced: str | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer.

    Attributes:
        words: what it comes to, and what to do.
        seconds: how long it took.
    """

    state: InquiryState
    words: str
    seconds: float = 0.0
    steps: tuple[Finding, ...] = ()
    recipients: tuple[Fate, ...] = ()

    def document(self) -> Mapping[str, Any]:
        """All of it but the state, as it is kept."""
        return {
            "words": self.words,
            "seconds": round(self.seconds, 3),
            "steps": [{**asdict(each), "seconds": round(each.seconds, 3)} for each in self.steps],
            "recipients": [asdict(each) for each in self.recipients],
        }
