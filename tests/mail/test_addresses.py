import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.addresses import (
    Address,
    domain_allowed,
    parse_domain,
    parse_forward_path,
    parse_mailbox,
    parse_reverse_path,
)
from mail.errors import Refused


@pytest.mark.parametrize(
    ("path", "address"),
    [
        ("<ann@example.com>", Address("ann", "example.com")),
        ("<Ann.B+tag@EXAMPLE.com>", Address("Ann.B+tag", "example.com")),
        ('<"a b"@example.com>', Address('"a b"', "example.com")),
        ('<"a\\"@b"@example.com>', Address('"a\\"@b"', "example.com")),
        ("<a@[192.0.2.1]>", Address("a", "[192.0.2.1]")),
        ("<a@[IPv6:2001:DB8:0::1]>", Address("a", "[IPv6:2001:db8::1]")),
        ("<@relay.example,@b.example:a@example.com>", Address("a", "example.com")),
        ("<grün@bücher.example>", Address("grün", "bücher.example")),
        ("<o'neil@a_b.example>", Address("o'neil", "a_b.example")),
        ("<Postmaster>", Address("Postmaster", "")),
        ("<a@localhost>", Address("a", "localhost")),
    ],
)
@pytest.mark.requirement("CORE-SMTP-003")
def test_legal_forward_paths(path: str, address: Address) -> None:
    assert parse_forward_path(path) == address


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("ann@example.com", "a path stands in angle brackets"),
        ("<ann@example.com", "a path stands in angle brackets"),
        ("<>", "a recipient cannot be empty"),
        ("<ann>", "an address needs a local part, @ and a domain"),
        ("<@example.com>", "the local part is malformed"),
        ("<ann@>", "the domain is malformed"),
        ("<a..b@example.com>", "the local part is malformed"),
        ("<.a@example.com>", "the local part is malformed"),
        ("<a b@example.com>", "the local part is malformed"),
        ("<a@b@example.com>", "the local part is malformed"),
        ("<a\x85b@example.com>", "the local part is malformed"),
        ("<a@-example.com>", "the domain is malformed"),
        ("<a@example..com>", "the domain is malformed"),
        ("<a@exam ple.com>", "the domain is malformed"),
        ("<a@[300.1.1.1]>", "the address literal is malformed"),
        ("<a@[IPv6:::g]>", "the address literal is malformed"),
        ("<a@[192.0.2.1>", "the address literal is malformed"),
        (f"<{'a' * 65}@example.com>", "the local part is longer than 64 octets"),
        (f"<a@{'b' * 63}.{'c' * 63}.{'d' * 63}.{'e' * 63}.com>", "the address is longer than 254 octets"),
        (f"<a@{'b' * 64}.com>", "the domain is malformed"),
        ("<a\udc80@example.com>", "the local part is malformed"),
        ('<"a\ud800"@example.com>', "the local part is malformed"),
        ("<a@ex\udfffample.com>", "the domain is malformed"),
        (f"<a@{chr(0xDC80) * 100}>", "the address is longer than 254 octets"),
        ("<@relay.example,@\x01:a@example.com>", "the local part is malformed"),
        ("<@relay\x7f.example:a@example.com>", "the local part is malformed"),
        ("<@relay\udc80.example:a@example.com>", "the local part is malformed"),
    ],
)
@pytest.mark.requirement("CORE-SMTP-003")
def test_illegal_forward_paths_are_refused_with_what_is_wrong(path: str, what: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_forward_path(path)
    assert str(refused.value) == f"501 5.1.3 Bad address: {what}"


def test_the_null_reverse_path_is_no_address() -> None:
    assert parse_reverse_path("<>") is None
    assert parse_reverse_path("<a@b.example>") == Address("a", "b.example")


@pytest.mark.parametrize(
    ("domain", "allowed"),
    [
        ("example.com", True),
        ("mail.example.com", False),
        ("a.sub.example.net", True),
        ("sub.example.net", True),
        ("example.net", False),
        ("badexample.net", False),
    ],
)
@pytest.mark.requirement("CORE-SMTP-002")
def test_a_wildcard_allows_what_is_below_it_and_nothing_else(domain: str, *, allowed: bool) -> None:
    assert domain_allowed(domain, frozenset({"example.com", "*.example.net"})) is allowed


atoms = st.text(alphabet=string.ascii_letters + string.digits + "!#$%&'*+/=?^_`{|}~-", min_size=1, max_size=20)
labels = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@given(local=st.lists(atoms, min_size=1, max_size=3).map(".".join), domain=st.lists(labels, min_size=1, max_size=4))
def test_a_dot_string_at_a_domain_comes_back_as_it_was(local: str, domain: list[str]) -> None:
    text = f"{local}@{'.'.join(domain)}"
    assert str(parse_mailbox(text)) == text


@given(st.text(max_size=300))
def test_any_text_is_an_address_or_is_refused_in_printable_words(text: str) -> None:
    try:
        answer = str(parse_forward_path(f"<{text}>"))
    except Refused as refused:
        answer = str(refused)
    assert not set(answer) & set("\r\n\0\x7f\x85")
    assert answer.encode()


@given(st.text(alphabet='@,:<a.\udc80\ud800\x01"\\', max_size=80))
def test_what_is_no_unicode_is_an_address_or_is_refused_as_well(text: str) -> None:
    for parse in (parse_forward_path, parse_reverse_path, parse_domain):
        try:
            answer = str(parse(f"<{text}>"))
        except Refused as refused:
            answer = str(refused)
        assert answer.encode()


@pytest.mark.timeout(10)
def test_a_source_route_without_end_is_read_once() -> None:
    with pytest.raises(Refused):
        parse_forward_path(f"<{'@a,' * 10_000}@a>")


@given(st.from_regex(r"[A-Za-z0-9.]{1,64}@[a-z0-9.\-\[\]:]{1,200}", fullmatch=True))
def test_what_is_accepted_is_accepted_again_in_its_own_spelling(text: str) -> None:
    try:
        address = parse_mailbox(text)
    except Refused:
        return
    assert parse_mailbox(str(address)) == address
