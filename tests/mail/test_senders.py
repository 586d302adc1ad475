"""Who an account may write as: MAIL FROM, and the From and Sender headers."""

from contextlib import suppress
from email.headerregistry import HeaderRegistry
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail.accounts import Account
from mail.addresses import Address, parse_mailbox
from mail.errors import Refused
from mail.headers import MAX_HEADER_BLOCK
from mail.senders import addresses_of, check_from_header, check_sender

ACCOUNT = Account(UUID(int=1), "shop", frozenset({"shop.example", "*.shop.example", "bücher.example"}), check_from=True)


@pytest.mark.requirement("CORE-SMTP-002")
def test_a_sender_outside_the_allowed_domains_is_refused_with_what_is_allowed() -> None:
    check_sender(ACCOUNT, parse_mailbox("a@shop.example"))
    check_sender(ACCOUNT, None)
    with pytest.raises(Refused) as refused:
        check_sender(ACCOUNT, parse_mailbox("a@other.example"))
    assert str(refused.value) == (
        "550 5.7.1 Account shop may not send from other.example; allowed: *.shop.example, bücher.example, shop.example"
    )


@pytest.mark.parametrize(
    "block",
    [
        b"From: a@shop.example",
        b"from:a@SHOP.example\r\nTo: b@other.example",
        b"X-From: x@other.example\r\nFrom : a@shop.example",
        b'From: "Doe, Jane <jane@other.example>" <a@shop.example>',
        b"From: Jane\r\n\tvan der =?utf-8?q?D=2C_?= (Sales (north) \\) x@other.example)\r\n <a@mail.shop.example>",
        b"From: J. R. Doe <a@shop.example>, b@shop.example,, c@bb.shop.example",
        b"From: Friends: a@shop.example, Bob <b@shop.example>;\r\nSender: c@shop.example",
        b'From: "a b"@shop.example',
        b"From: a (x) @ (y) shop . example",
        "From: Jörg <jörg@bücher.example>".encode(),
    ],
)
def test_a_from_header_inside_the_domains_passes(block: bytes) -> None:
    check_from_header(ACCOUNT, block)


ALLOWED = "allowed: *.shop.example, bücher.example, shop.example"


@pytest.mark.parametrize(
    ("block", "says"),
    [
        (b"To: a@shop.example", "The message has no From header"),
        (b"", "The message has no From header"),
        (b"From: a@shop.example\r\nFROM: a@shop.example", "The message has more than one From header"),
        (b"From: a@shop.example\nFrom: b@other.example", "The message has more than one From header"),
        (
            b"From: a@shop.example\r\nSender: a@shop.example\r\nSender: x@y",
            "The message has more than one Sender header",
        ),
        (
            b"From: a@shop.example\r\nSender: a@other.example",
            f"Account shop may not send with Sender of other.example; {ALLOWED}",
        ),
        (b"From: a@shop.example, b@other.example", f"Account shop may not send with From of other.example; {ALLOWED}"),
        (
            b"From: Us: a@shop.example, b@other.example;",
            f"Account shop may not send with From of other.example; {ALLOWED}",
        ),
        (b"From: a@shop.example <b@other.example>", "Cannot read the From header: unexpected '<'"),
        (
            b"From: a@shop.example b@other.example",
            "Cannot read the From header: Bad address: the domain is malformed",
        ),
        (b"From: Us", "Cannot read the From header: no address before 'end'"),
        (b"From: <>", "Cannot read the From header: no address before '>'"),
        (b"From: a@shop.example(", "Cannot read the From header: a comment without end"),
        (b'From: "a@shop.example', "Cannot read the From header: unexpected '\"'"),
        (b"From: a b@shop.example", "Cannot read the From header: Bad address: the local part is malformed"),
        (
            b"From: =?utf-8?q?x=40other.example_?=@shop.example",
            "Cannot read the From header: an encoded word in an address",
        ),
        (b"From: a@shop.example\0", "Cannot read the From header: control character"),
        (b"From: Us: a@shop.example", "Cannot read the From header: unexpected 'end'"),
        (b"From: Us: ;", "The From header names no address"),
        (b"From: \xff <a@shop.example>", "The From header is not UTF-8"),
        (
            b"From: a@shop.example\r\n" + b"x" * MAX_HEADER_BLOCK,
            "The header is longer than 262144 octets, so its From cannot be checked",
        ),
    ],
)
def test_any_other_is_refused_with_the_reason(block: bytes, says: str) -> None:
    with pytest.raises(Refused) as refused:
        check_from_header(ACCOUNT, block[:MAX_HEADER_BLOCK])
    assert str(refused.value) == f"550 5.7.1 {says}"


WORDS = st.text("abcXYZ019'-", min_size=1, max_size=6)
NAMES = st.one_of(
    st.just(""),
    WORDS,
    st.tuples(WORDS, WORDS).map(" ".join),
    st.text("abc ,;:<>@().", max_size=12).map(lambda text: f'"{text}"'),
    st.text("abc_=", max_size=8).map(lambda text: f"=?utf-8?q?{text}?="),
)
COMMENTS = st.one_of(st.just(""), st.text("ab@<>,;: ", max_size=6).map(lambda text: f" ({text}) "))
ADDRESSES = st.builds("{}.{}@{}.example".format, WORDS, WORDS, st.text("abc0", min_size=1, max_size=5))
MAILBOXES = st.one_of(ADDRESSES, st.builds("{}{} <{}>{}".format, NAMES, COMMENTS, ADDRESSES, COMMENTS).map(str.strip))
LISTS = st.lists(MAILBOXES, min_size=1, max_size=4).map(", ".join)
HEADERS = st.one_of(LISTS, st.builds("{}: {};".format, WORDS, LISTS))
REGISTRY = HeaderRegistry()


def by_the_standard_library(text: str) -> tuple[list[str], bool]:
    header: Any = REGISTRY("From", text)
    return [address.addr_spec for address in header.addresses], not header.defects


@given(HEADERS)
def test_what_is_well_formed_reads_as_the_standard_library_reads_it(text: str) -> None:
    found, _ = by_the_standard_library(text)
    assert [str(address) for address in addresses_of(text)] == found


@given(st.text('ab@<>,;:()"\\. \t[]?=', max_size=20))
@example("a@b,<c@d>")
@example("a:b@c,;d@e")
def test_whatever_is_read_reads_no_otherwise_to_the_standard_library(text: str) -> None:
    try:
        found = [str(address) for address in addresses_of(text)]
    except ValueError:
        return
    theirs, sound = by_the_standard_library(text)
    if sound:
        assert found == theirs


@given(st.binary(max_size=200))
def test_no_header_breaks_the_check(block: bytes) -> None:
    with suppress(Refused):
        check_from_header(ACCOUNT, b"From:" + block)


def test_addresses_are_read_whole() -> None:
    assert addresses_of('"x" <a@B.example>, "a . b"@c.example') == [
        Address("a", "b.example"),
        Address('"a . b"', "c.example"),
    ]
