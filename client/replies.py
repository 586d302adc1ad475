"""What a server answered."""

import re
from dataclasses import dataclass


def printable(text: str) -> str:
    """Return a server's text on one line and without control characters: it goes to a terminal."""
    joined = " ".join(text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").split())
    return "".join(character if character.isprintable() else "?" for character in joined)


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply: code and text, lines joined."""

    code: int
    text: str

    @classmethod
    def of(cls, code: int, message: str) -> "Reply":
        """Take over a reply as it came from the wire."""
        return cls(code, printable(message))

    def __str__(self) -> str:
        return f"{self.code} {self.text}".rstrip()

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code, class.subject.detail (RFC 3463), when the server sent one."""
        found = re.match(r"[245]\.\d{1,3}\.\d{1,3}(?=\s|$)", self.text)
        return found[0] if found else None

    @property
    def queue_id(self) -> str | None:
        """The id in `queued as <id>`, the words that Postfix made a habit of."""
        found = re.search(r"queued as <?([^\s<>]+)", self.text, re.IGNORECASE)
        return found[1].rstrip(".,;)") or None if found else None
