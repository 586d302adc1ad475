"""What a provider is given to tell our mail apart in its events."""

from mail.events.tags import MESSAGE_TAG, RECIPIENT_TAG
from worker.providers.base import Envelope

# As in `mail.events.tags`: at most 20 letters that are allowed everywhere (Postmark), and no name that SendGrid's
# events have of their own.
KEY = "smtp_proxy_key"


def marks(envelope: Envelope) -> dict[str, str]:
    """Name the message, the sending, and its recipient by number where there is only one."""
    named = {MESSAGE_TAG: str(envelope.message_id), KEY: str(envelope.key)}
    if len(envelope.recipients) == 1:
        named[RECIPIENT_TAG] = str(envelope.recipients[0][0])
    return named
