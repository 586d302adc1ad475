"""Which bounces say that an address is no good."""

from typing import Final

from mail.events.event import Bounce, Cause

# What a permanent failure says of something other than the address (RFC 3463, section 3): a full mailbox and the
# size of the message (2.2, 2.3), the system and the network (3, 4, 5), the content (6), security and policy (7).
_NOT_THE_ADDRESS: Final = ("5.2.2", "5.2.3", "5.3.", "5.4.", "5.5.", "5.6.", "5.7.")


def judged(*, hard: bool, enhanced: str | None) -> tuple[Bounce, Cause | None]:
    """The class of a bounce, and whether its address is suppressed.

    A provider calls hard what it will not try again. An address is only given up for what is wrong with itself: a
    message that a filter refuses must not keep its recipient from all others.

    Args:
        hard: whether the provider calls it so.
        enhanced: the enhanced status code, where one is told.
    """
    if hard and not (enhanced or "").startswith(_NOT_THE_ADDRESS):
        return Bounce.HARD, Cause.BOUNCE
    return Bounce.SOFT, None
