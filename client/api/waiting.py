"""Waits for what somebody else works on: asks for it again until it has come to an end."""

import time
from typing import Any, Final

from client.api.command import Request
from client.api.errors import UnreachableError
from client.api.transport import Answer, Line

_OPEN: Final = frozenset({"waiting", "taken"})
_FIRST_SECONDS, _LONGEST_SECONDS = 0.2, 2.0
# A worker has two minutes to take it, and one to answer.
_PATIENCE_SECONDS: Final = 200.0


def ended(request: Request, answer: Answer, line: Line) -> Answer:
    """Give the answer that tells how it ended.

    Args:
        request: what began it.
        answer: to that; it has the id by which it is asked for.
        line: the way to the API.

    Raises:
        UnreachableError: it goes on, or nobody has taken it up.
    """
    until, pause = time.monotonic() + _PATIENCE_SECONDS, _FIRST_SECONDS
    path = f"{request.path}/{_told(answer)['id']}"
    while _told(answer)["state"] in _OPEN:
        if time.monotonic() > until:
            raise UnreachableError(f"nobody has answered yet: ask for {path} later, and see that workers run")
        line.patience.sleep(pause)
        pause = min(2 * pause, _LONGEST_SECONDS)
        answer = line.send(Request(method="GET", path=path, query=request.query, repeatable=True))
    return answer


def went_well(answer: Answer) -> bool:
    """Whether it came to a good end, or is not at its end."""
    return _told(answer)["state"] in {*_OPEN, "done"}


def _told(answer: Answer) -> dict[str, Any]:
    document = answer.document
    if not isinstance(document, dict) or not {"id", "state"} <= document.keys():
        raise UnreachableError("what answers is not the API: is the URL of the profile right?")
    return document
