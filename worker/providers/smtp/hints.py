"""What a peer's words tell beside its codes: how long to wait, what it counts by, how it names a message.

There is no standard for any of it, so only what is written as well-known servers write it is read; anything else is
not known.
"""

import re
from typing import Final

from mail.delivery import Scope

_MOST_SECONDS: Final = 86_400
_READ: Final = 1000

_UNITS: Final = {"s": 1, "m": 60, "h": 3600}
_WAIT = re.compile(
    r"\b(?:try|retry\w*|again|wait|back|gr[ae]ylist\w*|delay\w*|defer\w*)\b[^\d\n]{0,30}"
    r"(?:(?P<hours>\d{1,2}):(?P<minutes>\d\d):(?P<seconds>\d\d)\b|"
    r"(?P<count>\d{1,6})\s?(?P<unit>s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b)",
    re.IGNORECASE,
)
_RATE = re.compile(
    r"throttl|rate[ -]?limit|rate exceeded|sending (?:rate|limit)|quota exceeded|slow down|"
    r"too many (?:[\w-]{1,20} ){0,3}(?:messages|e-?mails|connections|sessions|requests|login attempts)",
    re.IGNORECASE,
)
_DAY = re.compile(
    r"daily (?:[\w-]{1,20} ){0,4}(?:limit|quota)|(?:limit|quota)[^\n]{0,40}\b(?:per day|a day|24 ?h(?:ours)?|today)\b",
    re.IGNORECASE,
)
_ID = r"(?P<id>[^\s<>()\[\],;\"]{4,128})(?![^\s<>()\[\],;\"])"
_NAMES = tuple(
    re.compile(pattern)
    for pattern in (
        rf"[Qq]ueued (?:as|with id) <?{_ID}",  # Postfix, SendGrid, Postal
        rf"\b[Ii][Dd]=<?{_ID}",  # Exim
        rf"\bInternalId={_ID}",  # Exchange
        rf"[Qq]ueued \({_ID}\)",  # Haraka
        rf"^2\.\d\.\d {_ID} Message accepted for delivery",  # Sendmail
        rf"^(?:2\.\d\.\d )?OK +\d+ {_ID} - gsmtp",  # Google
        r"^(?:2\.\d\.\d )?Ok (?P<id>[0-9a-f]{16,40}-[0-9a-f-]{20,60})(?=\s|$)",  # Amazon SES
    )
)


def retry_after(text: str) -> float | None:
    """Seconds that the peer asks us to wait, a day at most: "try again in 5 minutes", "come back in 00:05:00"."""
    match = _WAIT.search(text[:_READ])
    if not match:
        return None
    if match["unit"]:
        seconds = int(match["count"]) * _UNITS[match["unit"][0].lower()]
    else:
        seconds = int(match["hours"]) * 3600 + int(match["minutes"]) * 60 + int(match["seconds"])
    return float(min(seconds, _MOST_SECONDS)) if seconds else None


def throttle(text: str) -> Scope | None:
    """What the peer counts by, if it says that we send too much."""
    text = text[:_READ]
    if _DAY.search(text):
        return Scope.DAY
    return Scope.RATE if _RATE.search(text) else None


def message_id(text: str) -> str | None:
    """How the peer names the message it has just taken."""
    for pattern in _NAMES:
        if match := pattern.search(text[:_READ]):
            return match["id"].rstrip(".:")
    return None
