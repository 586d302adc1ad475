"""SendGrid: by SMTP, which takes the message as it is, or by choice in the JSON of its API, which cannot."""

import json
from typing import Any, Final

import pybase64
from yarl import URL

from backing.provider_configs import SENDGRID_SMTP, SendGridConfig, refuse_signing
from mail.delivery import Outcome, RecipientResult
from worker.providers.api import ApiProvider, by_status, identifier, known, numbers, said
from worker.providers.base import Answer, Capabilities, Envelope, Failed, Provider, Setup
from worker.providers.compose import Composed, File, Inexpressible, Mailbox
from worker.providers.config import read_config
from worker.providers.mapping import Audience, mapped
from worker.providers.marks import marks
from worker.providers.means import Means
from worker.providers.relayed import Relay
from worker.providers.secret import needed_secret
from worker.providers.trail import Stage, Trail
from worker.providers.web import Reply, Request

_MAX_RECIPIENTS: Final = 1000
_MAX_OCTETS: Final = 30_000_000
_EVIDENCE_SECONDS: Final = 120.0
_ACCEPTED: Final = 202
_SENDING: Final = "mail.send"
# What steers SendGrid from within a message ("Building an X-SMTPAPI Header", SendGrid documentation).
_STEERING: Final = ("x-smtpapi",)


async def create(setup: Setup, means: Means) -> Provider:
    """Build the provider that a configuration describes; connects to nothing yet.

    Raises:
        BadConfig: the configuration contradicts itself or lacks something.
    """
    config = read_config(SendGridConfig, setup)
    key = needed_secret(setup, "an API key")
    if config.mode == "api":
        refuse_signing(config.dkim)
        return ApiProvider(means, SendGridApi(config, key))
    return await Relay(
        config=SENDGRID_SMTP | config.smtp,
        dkim=config.dkim,
        steering=_STEERING,
        max_recipients=_MAX_RECIPIENTS,
        max_octets=_MAX_OCTETS,
        evidence_seconds=_EVIDENCE_SECONDS if config.correlate else None,
        header=_smtp_header if config.correlate else lambda _: b"",
    ).provider(setup, means.allowed)


def _smtp_header(envelope: Envelope) -> bytes:
    """Tell SendGrid what to repeat in events; it takes the header out.

    Source: "Building an X-SMTPAPI Header", SendGrid documentation.
    """
    return f"X-SMTPAPI: {json.dumps({'unique_args': marks(envelope)})}\r\n".encode()


class SendGridApi:
    """Speaks to `mail/send`.

    Args:
        config: what the row says.
        key: the API key.
    """

    # "Mail Send", Limitations, SendGrid API Reference.
    capabilities = Capabilities(
        verified_tls=True,
        max_recipients=_MAX_RECIPIENTS,
        max_octets=_MAX_OCTETS,
        smtputf8=False,
        evidence_seconds=_EVIDENCE_SECONDS,
    )
    per_call = _MAX_RECIPIENTS

    def __init__(self, config: SendGridConfig, key: str) -> None:
        self._url = URL(f"{config.endpoint}/v3/mail/send")
        self._scopes = URL(f"{config.endpoint}/v3/scopes")
        self._secrets = (key,)
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}

    async def request(self, envelope: Envelope, body: bytes) -> Request | None:
        """Write the document of one mail."""
        fields = {"custom_args": marks(envelope)}
        document = await mapped(envelope, body, lambda message, copies: fields | _document(message, copies))
        return None if document is None else Request(self._url, self._headers, document, self._secrets)

    def results(self, envelope: Envelope, reply: Reply) -> list[RecipientResult]:
        """Read the answer; only 202 says that mail will be sent.

        Source: "Mail Send", Responses, SendGrid API Reference.
        """
        if reply.status == _ACCEPTED:
            named = identifier(reply.headers.get("X-Message-Id"))
            answer = Answer(Outcome.ACCEPTED, None, None, f"HTTP {_ACCEPTED}", provider_message_id=named)
        else:
            answer = by_status(reply, _words(reply))
        return answer.to(numbers(envelope))

    async def check(self, means: Means, trail: Trail) -> None:
        """Ask what the key may do.

        Source: "Retrieve a list of scopes for which this user has access", SendGrid API Reference.
        """
        reply = await known(means, Request(self._scopes, self._headers, b"", self._secrets), trail)
        with trail.step(Stage.ACCOUNT) as said_:
            scopes = reply.document.get("scopes")
            if not isinstance(scopes, list) or _SENDING not in scopes:
                text = f"the key lacks the scope {_SENDING}: give it that at SendGrid, or use another key"
                raise Failed(Answer(Outcome.MISCONFIGURED, None, None, text))
            said_.append("the key may send")


def _words(reply: Reply) -> str:
    errors = reply.document.get("errors")
    listed = errors if isinstance(errors, list) else []
    messages = [said(error.get("message")) for error in listed if isinstance(error, dict)]
    return said("; ".join(messages), reply.text)


def _document(message: Composed, copies: list[Audience]) -> dict[str, Any]:
    if not message.subject:
        raise Inexpressible("it has no subject")
    texts = [("text/plain", message.text), ("text/html", message.html)]
    fields: dict[str, Any] = {
        "personalizations": [_personalization(each) for each in copies],
        "from": _mailbox(message.sender),
        "subject": message.subject,
        "content": [{"type": kind, "value": text} for kind, text in texts if text],
        "headers": _headers(message),
    }
    if message.reply_to:
        fields["reply_to_list"] = [_mailbox(each) for each in message.reply_to]
    if message.files:
        fields["attachments"] = [_file(each) for each in message.files]
    return fields


def _personalization(audience: Audience) -> dict[str, Any]:
    lists = {"to": audience.to, "cc": audience.cc, "bcc": audience.bcc}
    return {name: [_mailbox(each) for each in listed] for name, listed in lists.items() if listed}


def _mailbox(mailbox: Mailbox) -> dict[str, str]:
    return {"email": mailbox.address} | ({"name": mailbox.name} if mailbox.name else {})


def _headers(message: Composed) -> dict[str, str]:
    headers = dict(message.headers)
    if len({name.lower() for name in headers}) < len(message.headers):
        raise Inexpressible("it has a header more than once")
    return headers


def _file(file: File) -> dict[str, str]:
    fields = {
        "content": pybase64.b64encode_as_string(file.content),
        "type": file.media_type,
        "filename": file.name,
        "disposition": "inline" if file.inline else "attachment",
    }
    return fields | ({"content_id": file.content_id} if file.content_id else {})
