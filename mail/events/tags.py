"""Names under which a message travels with its recipient at a provider, and comes back in the provider's events.

They are SES's EmailTags, Mailgun's `v:` variables, SendGrid's custom_args and Postmark's Metadata: letters, digits and
underscores are what all of these take.
"""

from typing import Final

# The message's id, as 36 hexadecimal digits and hyphens.
MESSAGE_TAG: Final = "smtp_proxy_message"
# The recipient's number in the envelope, from 0; only where a call has one recipient.
RECIPIENT_TAG: Final = "smtp_proxy_recipient"
