"""Options that many commands have."""

from typing import Any, Final

from client.api import secrets, values
from client.api.command import Option, Place

ACCOUNT = Option(
    "--account", Place.QUERY, "account", about="whose; an operator's key needs it, else the profile's", metavar="NAME"
)
IF_MATCH = Option(
    "--if-match",
    Place.HEADER,
    "If-Match",
    about="only if it still is the version with this ETag, which `show` tells",
    read=values.etag,
    metavar="ETAG",
)
OVERLAP = Option(
    "--overlap-hours",
    Place.BODY,
    "overlap_hours",
    about="how long the old one stays good; default: 24",
    read=values.number,
    metavar="HOURS",
)
IDEMPOTENCY_KEY = Option(
    "--idempotency-key",
    Place.HEADER,
    "Idempotency-Key",
    about="your name for it: repeated within a day, it is done once; else made",
    metavar="NAME",
)


def subject(name: str, about: str) -> Option:
    """What the command is about, by its name in the path."""
    return Option(name, Place.PATH, name, about=about)


def limit(default: int, most: int) -> Option:
    """How many are wanted."""
    about = f"how many; default: {default}, at most {most}"
    return Option("--limit", Place.QUERY, "limit", about=about, read=values.number, metavar="N")


def cursor(name: str = "cursor") -> Option:
    """Which page is wanted."""
    return Option("--cursor", Place.QUERY, name, about="the page after, as the page before named it", metavar="CURSOR")


def every(flag: str, name: str, about: str, metavar: str = "TEXT") -> Option:
    """A list; the option is given once for each of its members."""
    return Option(flag, Place.BODY, name, about=f"{about}; repeatable", many=True, metavar=metavar)


def pairs(flag: str, name: str, about: str) -> Option:
    """An object, given in parts."""
    return Option(
        flag, Place.BODY, name, about=f"{about}; repeatable", read=values.pair, many=True, metavar="KEY=VALUE"
    )


def switch(flag: str, name: str, about: str) -> Option:
    """Yes or no."""
    return Option(flag, Place.BODY, name, about=about, read=values.yes, metavar="yes|no")


def field(flag: str, about: str, read: Any = values.text, metavar: str = "TEXT") -> Option:
    """A field of the body whose name is that of the option."""
    return Option(flag, Place.BODY, flag.lstrip("-").replace("-", "_"), about=about, read=read, metavar=metavar)


def secret(name: str) -> Option:
    """A secret, which stands in a file."""
    about = "file with its secret, which nobody else may read; - is standard input"
    return Option("--secret-file", Place.BODY, name, about=about, read=secrets.from_file, metavar="FILE")


# Of most lists.
PAGES: Final = (limit(100, 1000), cursor())
