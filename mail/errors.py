"""What goes wrong with mail, whose fault it is, and what the peer is told."""

from typing import NamedTuple


class Reply(NamedTuple):
    """An SMTP reply with its enhanced status code (RFC 5321, section 4.2; RFC 2034)."""

    code: int
    enhanced: str
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.enhanced} {self.text}"


class Refused(Exception):  # noqa: N818 - a refusal is an answer, not an error of ours
    """The client asked for something it may not have; carries the reply that says so."""

    def __init__(self, code: int, enhanced: str, text: str) -> None:
        self.reply = Reply(code, enhanced, text)
        super().__init__(str(self.reply))


class Unavailable(Exception):  # noqa: N818 - named for what the client is told
    """Something we lean on did not answer; the client may try again, and keeps its mail until then."""


class MalformedJob(Exception):  # noqa: N818
    """A queue message is not a job that this version can read; says what is wrong with it."""


class UnknownJobVersion(MalformedJob):
    """A newer relay wrote this job; a newer worker will read it."""
