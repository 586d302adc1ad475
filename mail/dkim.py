"""DKIM signatures (RFC 6376), relaxed/relaxed, with RSA or Ed25519 keys (RFC 8463)."""

import hashlib
import re
from base64 import b64encode
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from mail.addresses import ascii_domain
from mail.splice import body_start, fields_of, header_end

# RFC 8301, 3.2: signers use no less, and verifiers need not take more.
MIN_BITS: Final = 1024
MAX_BITS: Final = 4096
# What SES writes itself (SES developer guide, "Header fields"): a signature over ours would break.
REWRITTEN_BY_SES: Final = frozenset({"date", "message-id"})

_SIGNED: Final = frozenset(
    {
        "from", "sender", "reply-to", "to", "cc", "subject", "date", "message-id", "in-reply-to", "references",
        "mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id",
        "content-description", "content-language", "list-id", "list-post", "list-help", "list-subscribe",
        "list-unsubscribe", "list-unsubscribe-post", "auto-submitted",
    }
)  # fmt: skip
_CHUNK: Final = 65_536
_SPACE: Final = re.compile(rb"[ \t]++")
_NAME: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9])?)*"
)
_TABS: Final = bytes.maketrans(b"\t", b" ")
_LINE: Final = 70


class BadKey(ValueError):  # noqa: N818 - a fact about a key
    """A signing key cannot be used; says why, never what it is."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """Whom a signature is by, and the key it is made with.

    Attributes:
        domain: the signing domain (d=), with labels in their own letters or in ASCII.
        selector: where under `_domainkey` of it the public key is (s=).
        private_key: RSA or Ed25519, PEM, not encrypted.

    Raises:
        BadKey: one of them cannot be used.
    """

    domain: str
    selector: str
    private_key: str = field(repr=False)
    _key: RSAPrivateKey | Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "domain", _checked("domain", self.domain))
        object.__setattr__(self, "selector", _checked("selector", self.selector))
        object.__setattr__(self, "_key", _loaded(self.private_key))

    @property
    def algorithm(self) -> str:
        """What a= says."""
        return "rsa-sha256" if isinstance(self._key, RSAPrivateKey) else "ed25519-sha256"

    def signature(self, data: bytes) -> bytes:
        """Sign canonical header fields; Ed25519 signs their digest (RFC 8463, 3)."""
        if isinstance(self._key, RSAPrivateKey):
            return self._key.sign(data, PKCS1v15(), SHA256())
        return self._key.sign(hashlib.sha256(data).digest())


def sign(message: bytes, key: DkimKey, now: int, leave_out: AbstractSet[str] = frozenset()) -> bytes:
    """Make the DKIM-Signature field that goes before a message, with its CRLF.

    From is signed once more than it is there, so that no second one can be added (RFC 6376, 8.15). Every other field
    is signed as often as it is there, and List-Unsubscribe with its Post, as RFC 8058 wants.

    Args:
        message: as it will be sent, octet for octet, with CRLF line ends.
        key: whom it is by.
        now: Unix time of the signature.
        leave_out: small letters; fields that change on the way, for instance `REWRITTEN_BY_SES`.
    """
    end = header_end(message)
    names, lines = _signed_fields(message[:end], leave_out)
    unsigned = "\r\n".join(
        (
            f"DKIM-Signature: v=1; a={key.algorithm}; c=relaxed/relaxed;",
            f"\td={key.domain};",
            f"\ts={key.selector}; t={now};",
            *_folded_names(names),
            f"\tbh={_body_hash(message, body_start(message, end))};",
            "\tb=",
        )
    )
    data = b"".join(
        [*lines, _relaxed_field(b"dkim-signature", unsigned.partition(":")[2].encode()).removesuffix(b"\r\n")]
    )
    encoded = b64encode(key.signature(data)).decode("ascii")
    return (unsigned + "\r\n\t ".join(_pieces(encoded)) + "\r\n").encode("ascii")


def _signed_fields(block: bytes, leave_out: AbstractSet[str]) -> tuple[list[str], list[bytes]]:
    """What h= names, and the fields in that order, canonical; of several with a name the last comes first (5.4.2)."""
    found: dict[str, list[bytes]] = {"from": []}
    for name, raw in fields_of(block):
        word = name.decode("ascii")
        if word == "from" or (word in _SIGNED and word not in leave_out):
            found.setdefault(word, []).append(_relaxed_field(name, raw.partition(b":")[2]))
    names = chain.from_iterable([name] * len(fields) for name, fields in found.items())
    return ["from", *names], [field for fields in found.values() for field in reversed(fields)]


def _relaxed_field(name: bytes, value: bytes) -> bytes:
    """RFC 6376, 3.4.2."""
    unfolded = value.replace(b"\r\n", b"")
    return name + b":" + _SPACE.sub(b" ", unfolded).strip(b" ") + b"\r\n"


def _folded_names(names: list[str]) -> Iterator[str]:
    line = "\th="
    for word in (*(f"{name}:" for name in names[:-1]), f"{names[-1]};"):
        if len(line) + len(word) > _LINE:
            yield line
            line = "\t "
        line += word
    yield line


def _pieces(text: str) -> Iterator[str]:
    return (text[at : at + _LINE] for at in range(0, len(text), _LINE))


def _body_hash(message: bytes, at: int) -> str:
    """What bh= says: the digest of the body as RFC 6376, 3.4.4 would have it, which is never held as a whole."""
    digest, blank, empty = hashlib.sha256(), 0, True
    while at < len(message):
        end = _chunk_end(message, at)
        lines = _relaxed_lines(message[at:end])
        kept = _without_blank_end(lines)
        if kept:
            digest.update(b"\r\n" * blank)
            digest.update(memoryview(lines)[:kept])
            blank, empty = 0, False
        blank += (len(lines) - kept) // 2
        at = end
    if not empty:
        digest.update(b"\r\n")
    return b64encode(digest.digest()).decode("ascii")


def _chunk_end(message: bytes, at: int) -> int:
    """Where some whole lines end, or one that is longer than a chunk."""
    end = message.rfind(b"\r\n", at, at + _CHUNK)
    if end < 0:
        end = message.find(b"\r\n", at + _CHUNK - 1)
    return end + 2 if end >= 0 else len(message)


def _relaxed_lines(lines: bytes) -> bytes:
    """Whole lines with runs of spaces as one, and none before a line end; each pass over a run halves it."""
    lines = lines.translate(_TABS)
    while b"  " in lines:
        lines = lines.replace(b"  ", b" ")
    return lines.replace(b" \r\n", b"\r\n").removesuffix(b" ")


def _without_blank_end(lines: bytes) -> int:
    """How long it is without the line ends at its end."""
    end = len(lines.rstrip(b"\r\n"))
    if lines.count(b"\r\n", end) * 2 == len(lines) - end:
        return end
    end = len(lines)
    while lines.endswith(b"\r\n", 0, end):
        end -= 2
    return end


def _checked(what: str, name: str) -> str:
    ascii_name = ascii_domain(name)
    if not _NAME.fullmatch(ascii_name):
        raise BadKey(f"the {what} {name[:80]!r} is no domain name" + (" part" if what == "selector" else ""))
    return ascii_name


def _loaded(pem: str) -> RSAPrivateKey | Ed25519PrivateKey:
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except TypeError:
        raise BadKey("the private key is encrypted; store it without a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadKey("the private key is no PEM private key (-----BEGIN PRIVATE KEY-----)") from None
    if isinstance(key, Ed25519PrivateKey):
        return key
    if not isinstance(key, RSAPrivateKey):
        raise BadKey(f"the private key is {type(key).__name__.removesuffix('PrivateKey')}; DKIM takes RSA and Ed25519")
    if not MIN_BITS <= key.key_size <= MAX_BITS:
        raise BadKey(f"the RSA key has {key.key_size} bits; use {MIN_BITS} to {MAX_BITS}, best 2048")
    return key
