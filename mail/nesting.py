"""How deep JSON is nested, told without parsing it."""

import re
from typing import Any, Final

# As deep as any document of ours may be; people who nest deeper than ten levels have not been met.
MAX_DEPTH: Final = 32
_ESCAPED: Final = re.compile(rb"\\.", re.DOTALL)
_TEXT: Final = re.compile(rb'"[^"]*"')
_ALL_ELSE: Final = bytes(set(range(256)) - set(b'[]{}"'))
_ONE_KIND: Final = bytes.maketrans(b"{}", b"[]")


def deeper_than(most: int, body: bytes) -> bool:
    """Whether lists and objects are nested deeper than so many levels; of what is no JSON, whatever.

    Each round takes the innermost brackets away: a parser would need its stack to find out, and might lose it.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return False
    if b"\\" in body:
        body = _ESCAPED.sub(b"", body)
    brackets = _TEXT.sub(b"", body.translate(None, _ALL_ELSE)).translate(_ONE_KIND)
    for _ in range(most):
        without = brackets.replace(b"[]", b"")
        if len(without) == len(brackets):
            break
        brackets = without
    # What was never closed is as deep for a parser.
    return b"[]" in brackets or brackets.count(b"[") > most


def cut(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Give a document as deep as it may be: what is deeper is null."""
    if not isinstance(value, dict | list):
        return value
    if depth == 0:
        return None
    if isinstance(value, list):
        return [cut(each, depth - 1) for each in value]
    return {name: cut(each, depth - 1) for name, each in value.items()}
