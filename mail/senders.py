"""What an account may send as: MAIL FROM, and by option the From and Sender headers."""

import re
from typing import Final

from mail.accounts import Account
from mail.addresses import Address, domain_allowed, parse_mailbox
from mail.errors import Refused
from mail.headers import MAX_HEADER_BLOCK

_FIELDS: Final = ("From", "Sender")
_VALUE: Final = re.compile(rb"[ \t]*:([^\r\n]*(?:\r\n[ \t][^\r\n]*)*)")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_TOKEN: Final = re.compile(
    r"""
    (?P<space>[ \t]+)
    | (?P<quoted>"(?:[^"\\]|\\.)*")
    | (?P<literal>\[[^\[\]\\]*\])
    | (?P<atom>[^\s()<>\[\]:;@\\,."]+)
    | (?P<special>[<>:;@,.])
    """,
    re.VERBOSE,
)
_COMMENT_PART: Final = re.compile(r"\\.|[()]|[^\\()]+")
_WORDS: Final = frozenset({"atom", "quoted"})
_Token = tuple[str, str]


def check_sender(account: Account, sender: Address | None) -> None:
    """Refuse a MAIL FROM outside the account's domains (CORE-SMTP-002); the null sender is always allowed.

    Raises:
        Refused: 550 5.7.1, naming the domain and the allowed ones.
    """
    if sender is None or sender.domain in account.allowed_domains:
        return
    if domain_allowed(sender.domain, account.allowed_domains):
        return
    raise _refused(f"Account {account.name} may not send from {sender.domain}; allowed: {_allowed(account)}")


def check_from_header(account: Account, block: bytes) -> None:
    """Refuse a message whose From or Sender header names an address outside the account's domains.

    A header that two readers could read differently is refused, too.

    Args:
        account: whose domains count.
        block: the header lines, as `mail.headers.header_block` gives them.

    Raises:
        Refused: 550 5.7.1, naming the header and what is wrong with it.
    """
    if len(block) >= MAX_HEADER_BLOCK:
        raise _refused(f"The header is longer than {MAX_HEADER_BLOCK} octets, so its From cannot be checked")
    # A bare CR or LF counts as the end of a line: whoever reads it so must not see a header that we did not.
    folded = b"\n" + block.lower().replace(b"\r", b"\n")
    found = {name: _values(block, folded, name) for name in _FIELDS}
    for name, values in found.items():
        if len(values) > 1:
            raise _refused(f"The message has more than one {name} header")
    if not found["From"]:
        raise _refused("The message has no From header")
    for name, values in found.items():
        for value in values:
            _check_addresses(account, name, value)


def addresses_of(text: str) -> list[Address]:
    """Read the unfolded value of an address header (RFC 5322, 3.4; RFC 6854 allows groups in From).

    Raises:
        ValueError: saying what in it is no address list.
    """
    reader = _AddressList(_tokens(text))
    found: list[Address] = []
    while not reader.done:
        if not reader.skipped(","):
            found += reader.address()
            reader.ended_by("", ",")
    return found


def _values(block: bytes, folded: bytes, name: str) -> list[bytes]:
    """The values of the headers of a name; `folded` is the block in small letters after a line's end."""
    wanted, at = b"\n" + name.lower().encode(), -1
    values: list[bytes] = []
    while (at := folded.find(wanted, at + 1)) >= 0:
        value = _VALUE.match(block, at + len(name))
        if value:
            values.append(value[1])
    return values


def _check_addresses(account: Account, name: str, value: bytes) -> None:
    try:
        addresses = addresses_of(value.replace(b"\r\n", b"").decode())
    except UnicodeDecodeError:
        raise _refused(f"The {name} header is not UTF-8") from None
    except ValueError as error:
        raise _refused(f"Cannot read the {name} header: {error}") from None
    if not addresses:
        raise _refused(f"The {name} header names no address")
    for address in addresses:
        if not domain_allowed(address.domain, account.allowed_domains):
            allowed = _allowed(account)
            raise _refused(f"Account {account.name} may not send with {name} of {address.domain}; allowed: {allowed}")


def _tokens(text: str) -> list[_Token]:
    """Words, specials and literals in order; space and comments are left out."""
    if _CONTROLS.search(text):
        raise ValueError("control character")
    tokens: list[_Token] = []
    at = 0
    while at < len(text):
        if text[at] == "(":
            at = _end_of_comment(text, at)
            continue
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"unexpected {text[at]!r}")
        if match.lastgroup != "space":
            tokens.append((str(match.lastgroup), match[0]))
        at = match.end()
    return tokens


def _end_of_comment(text: str, at: int) -> int:
    depth = 0
    for part in _COMMENT_PART.finditer(text, at):
        depth += {"(": 1, ")": -1}.get(part[0], 0)
        if depth == 0:
            return part.end()
    raise ValueError("a comment without end")


class _AddressList:
    """Reads addresses off tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._at = 0

    @property
    def done(self) -> bool:
        return self._at >= len(self._tokens)

    @property
    def here(self) -> str:
        return "" if self.done else self._tokens[self._at][1]

    def ended_by(self, *ends: str) -> None:
        """Raise if something else comes next."""
        if self.here not in ends:
            raise ValueError(f"unexpected {self.here or 'end'!r}")

    def skipped(self, special: str) -> bool:
        """Whether the next token is this special, which is then passed."""
        if self.done or self._tokens[self._at] != ("special", special):
            return False
        self._at += 1
        return True

    def address(self) -> list[Address]:
        """A mailbox, or the mailboxes of a group."""
        words = self._phrase()
        if self.skipped("<"):
            return [self._in_brackets()]
        if self.skipped("@"):
            return [self._mailbox(words)]
        if words and self.skipped(":"):
            return self._group()
        raise self._no_address()

    def _phrase(self) -> list[_Token]:
        """Words and dots: a display name (with dots by RFC 5322, 4.1), or a local part."""
        start = self._at
        while not self.done and (self._tokens[self._at][0] in _WORDS or self.here == "."):
            self._at += 1
        return self._tokens[start : self._at]

    def _in_brackets(self) -> Address:
        local = self._phrase()
        if not self.skipped("@"):
            raise self._no_address()
        address = self._mailbox(local)
        self.ended_by(">")
        self._at += 1
        return address

    def _group(self) -> list[Address]:
        found: list[Address] = []
        while not self.skipped(";"):
            if self.done:
                raise ValueError("a group without ';'")
            if self.skipped(","):
                continue
            words = self._phrase()
            if self.skipped("<"):
                found.append(self._in_brackets())
            elif self.skipped("@"):
                found.append(self._mailbox(words))
            else:
                raise self._no_address()
            self.ended_by(",", ";")
        return found

    def _no_address(self) -> ValueError:
        return ValueError(f"no address before {self.here or 'end'!r}")

    def _mailbox(self, local: list[_Token]) -> Address:
        literal = not self.done and self._tokens[self._at][0] == "literal"
        if literal:
            domain = self.here
            self._at += 1
        else:
            domain = _joined(self._phrase())
        name = _joined(local)
        if "=?" in name:
            # Some readers decode such a word, and then see another address.
            raise ValueError("an encoded word in an address")
        try:
            return parse_mailbox(f"{name}@{domain}")
        except Refused as refusal:
            raise ValueError(refusal.reply.text) from None


def _joined(words: list[_Token]) -> str:
    """Words and dots as one; two words without a dot between them stay two, so that no address is made of them."""
    text = ""
    for _, word in words:
        text += f" {word}" if text and word != "." and text[-1] != "." else word
    return text


def _allowed(account: Account) -> str:
    return ", ".join(sorted(account.allowed_domains)) or "none"


def _refused(what: str) -> Refused:
    return Refused(550, "5.7.1", what)
