"""Mailgun: the message goes as it is, in raw form, as a file in a form; only the form's `to` says who gets it."""

import base64
import re
import secrets
from collections.abc import Iterable
from typing import Final, Literal

from pydantic import Field
from yarl import URL

from mail.delivery import Outcome, RecipientResult
from mail.splice import without
from worker.providers.api import BAD_REQUEST, OK, ApiProvider, by_status, identifier, numbers, said
from worker.providers.base import Answer, Capabilities, Envelope, Provider, Setup
from worker.providers.config import Endpoint, ProviderConfig, read_config
from worker.providers.marks import marks
from worker.providers.means import Means
from worker.providers.secret import needed_secret
from worker.providers.signing import DkimConfig, Signing, signing
from worker.providers.web import Reply, Request

_HOSTS: Final = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}
# What steers Mailgun from within a message ("Sending with SMTP", Mailgun documentation): recipients, tags, variables.
_STEERING: Final = ("x-mailgun-*",)
_TAKEN: Final = "queued"
_ADDRESS: Final = re.compile(r"\bto\b.*\baddress|recipient", re.IGNORECASE)
_NOT_ALLOWED: Final = re.compile(
    r"not allowed|domain .*(not found|unverified|disabled)|account .*disabled", re.IGNORECASE
)


class MailgunConfig(ProviderConfig):
    """What `provider.config` holds for this kind."""

    domain: str = Field(
        pattern="^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$", description="Sending domain, as Mailgun knows it."
    )
    region: Literal["us", "eu"] = Field(default="us", description="Where the domain is kept.")
    tag: str | None = Field(default=None, pattern="^[!-~]{1,128}$", description="Tag for Mailgun's statistics.")
    test_mode: bool = Field(default=False, description="Mailgun takes the mail and delivers none of it.")
    endpoint: Endpoint | None = Field(default=None, description="URL of another endpoint than that of the region.")
    dkim: DkimConfig | None = Field(default=None, description="How messages are signed.")


class MailgunApi:
    """Speaks to `messages.mime`.

    Args:
        config: what the row says.
        key: the API key.
    """

    # "Sending messages", Mailgun documentation: 25 MB, 1000 recipients.
    capabilities = Capabilities(
        verified_tls=True, max_recipients=1000, max_octets=25_000_000, smtputf8=False, evidence_seconds=120.0
    )
    per_call = 1000

    def __init__(self, config: MailgunConfig, key: str) -> None:
        self._url = URL(f"{config.endpoint or _HOSTS[config.region]}/v3/{config.domain}/messages.mime")
        self._login = base64.b64encode(f"api:{key}".encode()).decode()
        self._secrets = (key, self._login)
        options = {"o:tag": config.tag, "o:testmode": "yes" if config.test_mode else None}
        self._options = [(name, value) for name, value in options.items() if value]

    @classmethod
    async def create(cls, setup: Setup, means: Means) -> Provider:
        """Build the provider that a configuration describes; calls nothing yet.

        Raises:
            BadConfig: the configuration contradicts itself or lacks something.
        """
        config = read_config(MailgunConfig, setup)
        provider = ApiProvider(means.http, cls(config, needed_secret(setup, "an API key")))
        return Signing(provider, await signing(config.dkim, setup))

    async def request(self, envelope: Envelope, body: bytes) -> Request:
        """Write the form; `v:` variables come back in events, and recipients see them in X-Mailgun-Variables."""
        fields = [("to", recipient.address) for _, recipient in envelope.recipients]
        variables = [(f"v:{name}", value) for name, value in marks(envelope).items()]
        boundary = secrets.token_hex(16)
        headers = {"Authorization": f"Basic {self._login}", "Content-Type": f"multipart/form-data; boundary={boundary}"}
        form = _form(boundary, [*fields, *self._options, *variables], without(body, _STEERING))
        return Request(self._url, headers, form, self._secrets)

    def results(self, envelope: Envelope, reply: Reply) -> list[RecipientResult] | None:
        """Read the answer; a 200 that does not say "Queued" comes from another page than the one meant."""
        document = reply.document
        message = said(document.get("message"), reply.text)
        answer = by_status(reply, message)
        if reply.status == OK and document and _TAKEN in message.lower():
            # Events name it without the brackets.
            named = (identifier(document.get("id")) or "").strip("<>") or None
            answer = Answer(Outcome.ACCEPTED, None, None, answer.text, provider_message_id=named)
        elif (reply.status == OK and reply.whole) or (reply.status == BAD_REQUEST and _NOT_ALLOWED.search(message)):
            answer = Answer(Outcome.MISCONFIGURED, None, None, answer.text)
        elif reply.status == BAD_REQUEST and _ADDRESS.search(message):
            if len(envelope.recipients) > 1:
                return None
            answer = Answer(Outcome.PERMANENT, None, None, answer.text)
        return answer.to(numbers(envelope))


def _form(boundary: str, fields: Iterable[tuple[str, str]], message: bytes) -> bytes:
    """Write a form with a file (RFC 7578), the file octet for octet."""
    start = "".join(
        [f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields]
    )
    file = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="message"; filename="message.mime"\r\n'
        "Content-Type: message/rfc822\r\n\r\n"
    )
    return b"".join([start.encode(), file.encode(), message, f"\r\n--{boundary}--\r\n".encode()])
