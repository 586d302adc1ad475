"""What of a client's words may be shown to others."""

from typing import Final

from relay.smtp import order

MASK: Final = "***"
# What may stand after AUTH. Another word there may be a secret, of a client that left the mechanism out.
_MECHANISMS: Final = frozenset(
    {"CRAM-MD5", "DIGEST-MD5", "EXTERNAL", "LOGIN", "NTLM", "OAUTHBEARER", "PLAIN", "SCRAM-SHA-256", "XOAUTH2"}
)


def masked(line: bytes) -> str:
    """Give the words of a command that hold no secret.

    What follows AUTH and its mechanism is one. So may be a line that is no command: a client that sends its password
    without waiting for the challenge, after AUTH was refused, sends it where a command is expected.
    """
    verb, _, rest = line.decode("utf-8", "replace").partition(" ")
    if verb.upper() == "AUTH":
        mechanism, _, secret = rest.partition(" ")
        if mechanism.upper() not in _MECHANISMS:
            return f"{verb} {MASK}" if rest else verb
        return f"{verb} {mechanism} {MASK}" if secret else f"{verb} {mechanism}"
    known = verb.upper() in order.NEEDS or verb.upper() in order.ABSENT
    return f"{verb} {rest}".rstrip() if known else f"{MASK} ({len(line)} octets)"
