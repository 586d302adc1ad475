"""Parts of lists: who asks gets so many at a time, and goes on from behind the last one."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a list.

    Attributes:
        most: so many of it, or None for all.
        after: behind which one it begins, by what the list is in the order of; nothing for its beginning.
    """

    most: int | None = None
    after: Sequence[object] = ()

    def values(self, *names: str) -> dict[str, Any]:
        """Give the values that a statement takes for it, by the names of what the list is in the order of."""
        return {"most": self.most, **dict(zip_longest(names, self.after))}


WHOLE: Final = Part()
