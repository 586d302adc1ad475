"""Versions of what is shown, so that nobody overwrites what he has not seen (RFC 9110, 13.1.1)."""

import hashlib
from typing import Annotated

from fastapi import Header
from starlette.responses import Response

from web.api.models import Given
from web.problems import Problem

IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        max_length=2000,
        description="ETag of the version that is to be changed or deleted; 412 if it is another by now.",
    ),
]


def etag_of(shown: Given) -> str:
    """Give the tag of a version: the digest of what is its own, without what is only counted."""
    text = shown.model_dump_json(exclude=set(shown.counted))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def tag(response: Response, shown: Given) -> None:
    """Tell which version is shown."""
    response.headers["ETag"] = etag_of(shown)


def expect(wanted: str | None, shown: Given) -> None:
    """Refuse to change another version than the one that is meant.

    Raises:
        Problem: 412.
    """
    if wanted is None or wanted.strip() == "*":
        return
    if etag_of(shown) not in {each.strip() for each in wanted.split(",")}:
        raise Problem(412, "it was changed since you read it; read it again", {"ETag": etag_of(shown)})
