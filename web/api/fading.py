"""Operations that will be no more: since when that is known, and when they go (RFC 9745, RFC 8594)."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

# Long enough for programs that are looked after twice a year.
NOTICE: Final = timedelta(days=180)
# Where a route finds it again: extensions of OpenAPI begin so.
EXTENSION: Final = "x-deprecation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fading:
    """That an operation is deprecated.

    Attributes:
        since: from when on it should not be used, in UTC.
        sunset: when it goes, in UTC; at least `NOTICE` later.
        instead: what is to be used in its place, for people.

    Raises:
        ValueError: the notice is too short.
    """

    since: datetime
    sunset: datetime
    instead: str

    def __post_init__(self) -> None:
        """Hold us to what is promised."""
        if self.sunset - self.since < NOTICE:
            raise ValueError(f"what is deprecated stays for {NOTICE.days} days; {self.since} to {self.sunset} is less")

    def headers(self) -> dict[str, str]:
        """What each answer says of it."""
        moment = format_datetime(self.sunset, usegmt=True)
        return {"Deprecation": f"@{int(self.since.timestamp())}", "Sunset": moment}

    def words(self) -> str:
        """What its description says of it."""
        return f"Deprecated since {self.since:%Y-%m-%d}, gone on {self.sunset:%Y-%m-%d}: {self.instead}"

    def told(self, status: int) -> dict[str, Any]:
        """What OpenAPI is told of it, of the answer of success as well."""
        headers = {
            name: {"description": words, "required": True, "schema": {"type": "string"}, "example": example}
            for (name, example), words in zip(self.headers().items(), _SAID, strict=True)
        }
        return {EXTENSION: self.headers(), "responses": {str(status): {"headers": headers}}}


_SAID: Final = ("Since when this is deprecated (RFC 9745).", "When this goes (RFC 8594).")


def raw_headers(extra: Mapping[str, Any] | None) -> list[tuple[bytes, bytes]]:
    """Give the headers that a route with these extensions adds to its answers."""
    found: Mapping[str, str] = (extra or {}).get(EXTENSION, {})
    return [(name.lower().encode(), value.encode()) for name, value in found.items()]
