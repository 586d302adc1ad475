"""What a rule asks, read from a document."""

import re
from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from mail.addresses import parse_domain
from mail.errors import Refused
from mail.routing.conditions import (
    Condition,
    Credential,
    Header,
    HeaderTest,
    SenderDomain,
    Size,
    Stream,
    Tag,
    Test,
)
from mail.routing.domains import Domains
from mail.routing.reading import BadRule, alternatives, flag, list_of, names_of, number, object_of, shown, words
from mail.routing.rules import Match

MAX_CONDITIONS: Final = 10
MAX_ALTERNATIVES: Final = 1000
MAX_HEADER_TESTS: Final = 20
MAX_OCTETS: Final = 1 << 40

_HEADER_NAME: Final = re.compile(r"[!-9;-~]{1,126}")
_TESTS: Final[tuple[Test, ...]] = ("equals", "contains", "prefix", "exists")


def parse_match(document: object) -> Match:
    """Read what must hold: `{"all": [{"recipient_domain": ["a.example"]}, {"tag": "bulk"}]}`; `{}` holds always.

    Raises:
        BadRule: saying which key is wrong and what it may be.
    """
    fields = object_of("match", document, frozenset({"all"}))
    several = list_of("match.all", fields.get("all", []), MAX_CONDITIONS)
    recipients: list[Domains] = []
    conditions: list[Condition] = []
    for n, each in enumerate(several):
        at = f"match.all[{n}]"
        if not isinstance(each, dict) or len(each) != 1:
            raise BadRule(f"{at} is {shown(each)}; expected an object with one condition of {names_of(_KEYS)}")
        ((key, value),) = each.items()
        if key == "recipient_domain":
            recipients.append(_domains(f"{at}.{key}", value))
        elif key in _CONDITIONS:
            conditions.append(_CONDITIONS[key](f"{at}.{key}", value))
        else:
            raise BadRule(f"{at} has no condition {shown(key)}; expected one of {names_of(_KEYS)}")
    return Match(tuple(recipients), tuple(conditions))


def _domains(at: str, value: object) -> Domains:
    return Domains.of(alternatives(at, value, MAX_ALTERNATIVES, _domain))


def _domain(at: str, value: object) -> str:
    # Half a character, as JSON can have it, is not printable.
    if not isinstance(value, str) or not value.isprintable():
        raise BadRule(f"{at} is {shown(value)}; expected a domain, or *.example.com for all below example.com")
    above, name = ("*.", value[2:]) if value.startswith("*.") else ("", value)
    try:
        return above + parse_domain(name)
    except Refused as refused:
        raise BadRule(f"{at} is {shown(value)}: {refused.reply.text}") from None


def _sender_domain(at: str, value: object) -> SenderDomain:
    return SenderDomain(_domains(at, value))


def _header(at: str, value: object) -> Header:
    return Header(alternatives(at, value, MAX_HEADER_TESTS, _header_test))


def _header_test(at: str, value: object) -> HeaderTest:
    fields = object_of(at, value, frozenset({"name", *_TESTS}))
    name, tests = fields.get("name"), [test for test in _TESTS if test in fields]
    if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
        raise BadRule(f"{at}.name is {shown(name)}; expected a header's name")
    if len(tests) != 1:
        raise BadRule(f"{at} needs one of {names_of(_TESTS)}, and has {names_of(tests) or 'none'}")
    test = tests[0]
    wanted = fields[test]
    if test == "exists":
        return HeaderTest(name.lower(), test, "yes" if flag(f"{at}.exists", wanted) else "")
    return HeaderTest(name.lower(), test, words(f"{at}.{test}", wanted).lower())


def _tag(at: str, value: object) -> Tag:
    return Tag(frozenset(alternatives(at, value, MAX_ALTERNATIVES, words)))


def _stream(at: str, value: object) -> Stream:
    return Stream(frozenset(alternatives(at, value, MAX_ALTERNATIVES, words)))


def _size(at: str, value: object) -> Size:
    return Size(alternatives(at, value, MAX_CONDITIONS, _range))


def _range(at: str, value: object) -> tuple[int | None, int | None]:
    fields = object_of(at, value, frozenset({"gt", "lt"}))
    if not fields:
        raise BadRule(f'{at} is empty; expected {{"gt": octets}}, {{"lt": octets}}, or both')
    gt, lt = (number(f"{at}.{key}", fields[key], 0, MAX_OCTETS) if key in fields else None for key in ("gt", "lt"))
    return gt, lt


def _credential(at: str, value: object) -> Credential:
    return Credential(frozenset(alternatives(at, value, MAX_ALTERNATIVES, _uuid)))


def _uuid(at: str, value: object) -> UUID:
    try:
        return UUID(value if isinstance(value, str) else "")
    except ValueError:
        raise BadRule(f"{at} is {shown(value)}; expected the id of a credential") from None


_CONDITIONS: Final[Mapping[str, Callable[[str, object], Condition]]] = {
    "sender_domain": _sender_domain,
    "header": _header,
    "tag": _tag,
    "stream": _stream,
    "size": _size,
    "credential_id": _credential,
}
_KEYS: Final = ("recipient_domain", *_CONDITIONS)
