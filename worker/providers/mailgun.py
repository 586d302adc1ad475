"""Mailgun: the message goes as it is, in raw form, as a file in a form; only the form's `to` says who gets it."""

import base64
import re
import secrets
from collections.abc import Iterable
from typing import Final

from yarl import URL

from backing.provider_configs import MailgunConfig
from mail.delivery import Outcome, RecipientResult
from mail.splice import without
from worker.providers.api import BAD_REQUEST, OK, ApiProvider, by_status, identifier, known, numbers, said
from worker.providers.base import Answer, Capabilities, Envelope, Failed, Provider, Setup, Unsure
from worker.providers.config import read_config
from worker.providers.marks import marks
from worker.providers.means import Means
from worker.providers.secret import needed_secret
from worker.providers.signing import Signing, signing
from worker.providers.trail import Stage, Trail
from worker.providers.web import Reply, Request

_HOSTS: Final = {"us": "https://api.mailgun.net", "eu": "https://api.eu.mailgun.net"}
# What steers Mailgun from within a message ("Sending with SMTP", Mailgun documentation): recipients, tags, variables.
_STEERING: Final = ("x-mailgun-*",)
_TAKEN: Final = "queued"
_ACTIVE: Final = "active"
_NOT_FOUND: Final = 404
_SENDING_KEY: Final = "Where it is a domain sending key, it may only send: test it with a mail."
_ADDRESS: Final = re.compile(r"\bto\b.*\baddress|recipient", re.IGNORECASE)
_NOT_ALLOWED: Final = re.compile(
    r"not allowed|domain .*(not found|unverified|disabled)|account .*disabled", re.IGNORECASE
)


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
        api = config.endpoint or _HOSTS[config.region]
        self._url = URL(f"{api}/v3/{config.domain}/messages.mime")
        self._domain = URL(f"{api}/v3/domains/{config.domain}")
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
        provider = ApiProvider(means, cls(config, needed_secret(setup, "an API key")))
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

    async def check(self, means: Means, trail: Trail) -> None:
        """Ask for the domain.

        Source: "Domains", GET /v3/domains/{name}, Mailgun API Reference; a domain sending key may only send.
        """
        question = Request(self._domain, {"Authorization": f"Basic {self._login}"}, b"", self._secrets)
        try:
            reply = await known(means, question, trail)
        except Failed as failed:
            if failed.answer.outcome is Outcome.MISCONFIGURED and f"HTTP {_NOT_FOUND}" not in failed.answer.text:
                raise Unsure(failed.answer, _SENDING_KEY) from failed
            raise
        with trail.step(Stage.ACCOUNT) as said_:
            domain = reply.document.get("domain")
            state = said(domain.get("state") if isinstance(domain, dict) else None)
            if state != _ACTIVE:
                text = f"the domain is {state}: finish what Mailgun asks for in its control panel"
                raise Failed(Answer(Outcome.MISCONFIGURED, None, None, text))
            said_.append("the domain is active")


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
