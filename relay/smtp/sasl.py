"""What clients say inside AUTH: base64 lines and the messages of the mechanisms."""

import binascii
import re
from typing import Final

from aiosmtpd.smtp import LoginPassword

from mail.errors import Refused
from relay import replies

MECHANISMS: Final = ("PLAIN", "LOGIN")
WITH_CERTIFICATE: Final = (*MECHANISMS, "EXTERNAL")
# RFC 4648, section 4; Python's decoder takes more padding than there is room for.
_BASE64: Final = re.compile(r"(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?")


def decode_response(text: str) -> bytes:
    """Decode what a client sent for a SASL challenge (RFC 4954, section 4).

    Raises:
        Refused: 501, the exchange is cancelled or the text is not base64.
    """
    if text == "*":
        raise replies.refusal(replies.CANCELLED)
    if not _BASE64.fullmatch(text):
        raise Refused(501, "5.5.2", "Cannot decode base64")
    return binascii.a2b_base64(text)


def decode_initial(text: str) -> bytes:
    """Decode an initial response; `=` is an empty one."""
    return b"" if text == "=" else decode_response(text)


def split_plain(response: bytes) -> LoginPassword:
    """Read the message of SASL PLAIN (RFC 4616); nobody may act for another.

    Raises:
        Refused: 501 5.5.2, it has not three parts; 535 5.7.8, it asks to act for another.
    """
    try:
        acting_for, login, password = response.split(b"\0")
    except ValueError:
        raise Refused(501, "5.5.2", "PLAIN needs: [authzid] NUL user NUL password") from None
    if acting_for not in {b"", login}:
        raise replies.refusal(replies.BAD_CREDENTIAL)
    return LoginPassword(login, password)
