"""Whether a sender is told what became of a message by mail (RFC 3461); never so that two machines talk for ever."""

from enum import StrEnum
from typing import Final

from mail.headers import field_values, find_headers, header_block


class Action(StrEnum):
    """What a report says of a recipient (RFC 3464, section 2.3.3), the worst first."""

    FAILED = "failed"
    DELAYED = "delayed"
    RELAYED = "relayed"
    EXPANDED = "expanded"
    DELIVERED = "delivered"


# What NOTIFY must say for it (RFC 3461, 4.1), and what X-Auto-Response-Suppress must not ([MS-OXCMAIL], 2.2.3.2.14).
_WISH: Final = {
    Action.FAILED: "FAILURE",
    Action.DELAYED: "DELAY",
    Action.RELAYED: "SUCCESS",
    Action.EXPANDED: "SUCCESS",
    Action.DELIVERED: "SUCCESS",
}
_SUPPRESSED_BY: Final = {action: "ndr" if action is Action.FAILED else "dr" for action in Action}
# Where a recipient said nothing; delays are then for us to tell or not.
_DEFAULT: Final = frozenset({"FAILURE", "DELAY"})
# Mail systems that write as somebody, where they should have used the null sender.
_MACHINES: Final = frozenset({"mailer-daemon", "double-bounce", "postmaster-owner"})


def may_notify(message: bytes, mail_from: str, notify: str | None, action: Action) -> bool:
    """Whether the sender may be told this about a recipient.

    Args:
        message: of which only the header is looked at.
        mail_from: the reverse path, empty for the null sender.
        notify: NOTIFY of the recipient, or None.
        action: what there is to tell.
    """
    return wanted(notify, action) and answerable(message, mail_from, action)


def wanted(notify: str | None, action: Action) -> bool:
    """Whether a recipient's NOTIFY asks for it; nothing said means failures, and delays if we tell any."""
    words = _DEFAULT if notify is None else {word.strip() for word in notify.upper().split(",")}
    return _WISH[action] in words


def answerable(message: bytes, mail_from: str, action: Action) -> bool:
    """Whether there is somebody who would read it: no null sender, no machine, no report, nothing automatic.

    Precedence is not looked at: a mailing list wants to know which of its addresses have died.
    """
    if not mail_from or mail_from.rpartition("@")[0].strip('"').lower() in _MACHINES:
        return False
    block = header_block(message)
    kind, automatic = find_headers(block, "Content-Type", "Auto-Submitted")
    if _first_word(kind) == "multipart/report" or _first_word(automatic) not in {"", "no"}:
        return False
    suppressed = ",".join(field_values(block, "X-Auto-Response-Suppress")).lower().split(",")
    return {"all", _SUPPRESSED_BY[action]}.isdisjoint(word.strip() for word in suppressed)


def _first_word(value: str | None) -> str:
    """What comes before the parameters and comments of a value."""
    return (value or "").partition(";")[0].partition("(")[0].strip().lower()
