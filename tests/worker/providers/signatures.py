"""A domain that signs its mail, and a stranger that checks it with another implementation."""

import json
import re
from base64 import b64encode
from typing import Any, Final

import dkim
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

_KEY: Final = rsa.generate_private_key(65537, 2048)
PEM: Final = _KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
_PUBLIC: Final = b64encode(_KEY.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
DKIM: Final[dict[str, Any]] = {"domain": "Shop.example", "selector": "main"}


def secret(**others: str) -> str:
    return json.dumps({"dkim_key": PEM, **others})


def signed_by(message: bytes) -> str | None:
    """The domain whose signature comes first and holds; None without a signature.

    Raises:
        AssertionError: it does not hold.
    """
    if not message.startswith(b"DKIM-Signature:"):
        return None
    checked = dkim.DKIM(message)
    assert checked.verify(dnsfunc=lambda name, **_: {b"main._domainkey.shop.example.": b"p=" + _PUBLIC}[name])
    return str(checked.domain.decode())


def signed_fields(message: bytes) -> set[str]:
    """What the signature that comes first covers."""
    (named,) = re.findall(rb"^DKIM-Signature:[^\x00]*?\sh=([^;]+);", message)
    return {word.strip().decode() for word in named.split(b":")}
