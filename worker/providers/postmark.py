"""Postmark: by SMTP, which takes the message as it is, or by choice in the JSON of its API, which cannot."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import pybase64
from yarl import URL

from backing.provider_configs import POSTMARK_SMTP, PostmarkConfig, refuse_signing
from mail.delivery import Outcome, RecipientResult
from worker.providers.api import ApiProvider, by_status, identifier, known, numbers, said
from worker.providers.base import Answer, Capabilities, Envelope, Provider, Setup
from worker.providers.compose import Composed, File, Mailbox
from worker.providers.config import read_config
from worker.providers.mapping import Audience, mapped
from worker.providers.marks import marks
from worker.providers.means import Means
from worker.providers.relayed import Relay
from worker.providers.secret import needed_secret
from worker.providers.trail import Stage, Trail
from worker.providers.web import Reply, Request

_MAX_OCTETS: Final = 10_000_000
_MAX_RECIPIENTS: Final = 50
_EVIDENCE_SECONDS: Final = 120.0
# What steers Postmark from within a message ("Send email with SMTP", Postmark documentation), and what it writes anew.
_STEERING: Final = ("x-pm-*",)
_REWRITTEN: Final = frozenset({"message-id"})

_OK, _INVALID, _INACTIVE = 0, 300, 406
_SANDBOX: Final = "Sandbox"
# "API error codes", Postmark developer documentation; some look like statuses of HTTP, and mean something else.
_MEANINGS: Final = {
    10: Outcome.MISCONFIGURED,  # bad or missing token
    100: Outcome.PROVIDER_DOWN,  # maintenance
    _INVALID: Outcome.MESSAGE_PERMANENT,
    400: Outcome.MISCONFIGURED,  # sender signature not found
    401: Outcome.MISCONFIGURED,  # sender signature not confirmed
    402: Outcome.MESSAGE_PERMANENT,  # invalid JSON
    403: Outcome.MESSAGE_PERMANENT,  # incompatible JSON
    405: Outcome.MISCONFIGURED,  # not allowed to send: out of credits
    _INACTIVE: Outcome.PERMANENT,
    409: Outcome.MESSAGE_PERMANENT,  # JSON required
    411: Outcome.MESSAGE_PERMANENT,  # forbidden attachment type
    412: Outcome.MISCONFIGURED,  # account pending
    413: Outcome.MISCONFIGURED,  # account may not send
    429: Outcome.THROTTLED,
    1235: Outcome.MISCONFIGURED,  # no such message stream
}
# An answer without a code: "500: the message is usually lost".
_SERVER_ERROR: Final = 500
_SENDER_TROUBLE: Final = range(500, 600)  # codes about sender signatures and domains
_RECIPIENT_FIELD: Final = re.compile(r"'(To|Cc|Bcc)'")
_INACTIVE_LIST: Final = "inactive addresses:"
_QUOTED: Final = str.maketrans({"\\": r"\\", '"': r"\""})


async def create(setup: Setup, means: Means) -> Provider:
    """Build the provider that a configuration describes; connects to nothing yet.

    Raises:
        BadConfig: the configuration contradicts itself or lacks something.
    """
    config = read_config(PostmarkConfig, setup)
    token = needed_secret(setup, "a server token")
    if config.mode == "api":
        refuse_signing(config.dkim)
        return ApiProvider(means, PostmarkApi(config, token))
    stream = f"X-PM-Message-Stream: {config.stream}\r\n" if config.stream else ""

    def header(envelope: Envelope) -> bytes:
        """Tell Postmark what to repeat in events ("Send email with SMTP", Postmark documentation)."""
        named = marks(envelope) if config.correlate else {}
        return (stream + "".join([f"X-PM-Metadata-{name}: {value}\r\n" for name, value in named.items()])).encode()

    return await Relay(
        config=POSTMARK_SMTP | {"username": config.username or token} | config.smtp,
        dkim=config.dkim,
        steering=_STEERING,
        max_recipients=_MAX_RECIPIENTS,
        max_octets=_MAX_OCTETS,
        evidence_seconds=_EVIDENCE_SECONDS if config.correlate else None,
        header=header,
        rewritten=_REWRITTEN,
    ).provider(setup, means.allowed)


class PostmarkApi:
    """Speaks to `/email`.

    Args:
        config: what the row says.
        token: the server token.
    """

    # "Sending a single email", Postmark developer documentation.
    capabilities = Capabilities(
        verified_tls=True,
        max_recipients=_MAX_RECIPIENTS,
        max_octets=_MAX_OCTETS,
        smtputf8=False,
        evidence_seconds=_EVIDENCE_SECONDS,
        rewrites_message_id=True,
    )
    per_call = _MAX_RECIPIENTS

    def __init__(self, config: PostmarkConfig, token: str) -> None:
        self._url = URL(f"{config.endpoint}/email")
        self._server = URL(f"{config.endpoint}/server")
        self._secrets = (token,)
        self._headers = {
            "X-Postmark-Server-Token": token,
            "Content-Type": "application/json",
            "Accept": "application/json",
        }
        self._stream = {"MessageStream": config.stream} if config.stream else {}

    async def request(self, envelope: Envelope, body: bytes) -> Request | None:
        """Write the document of one mail; recipients who would need a copy each cannot share it."""
        fields = self._stream | {"Metadata": marks(envelope)}
        document = await mapped(
            envelope, body, lambda message, copies: fields | _document(message, copies[0]) if len(copies) == 1 else None
        )
        return None if document is None else Request(self._url, self._headers, document, self._secrets)

    def results(self, envelope: Envelope, reply: Reply) -> list[RecipientResult] | None:
        """Read the answer, whose ErrorCode decides, whatever the status says."""
        code, message = reply.document.get("ErrorCode"), said(reply.document.get("Message"))
        if not isinstance(code, int):
            return _without_code(reply).to(numbers(envelope))
        if code == _OK:
            return _taken(envelope, reply.document)
        several = len(envelope.recipients) > 1
        if several and (code == _INACTIVE or (code == _INVALID and _RECIPIENT_FIELD.search(message))):
            return None
        outcome = _MEANINGS.get(code, Outcome.MISCONFIGURED if code in _SENDER_TROUBLE else Outcome.TEMPORARY)
        if code == _INVALID and _RECIPIENT_FIELD.search(message):
            outcome = Outcome.PERMANENT
        pause = reply.retry_after if outcome is Outcome.THROTTLED else None
        return Answer(outcome, None, None, f"ErrorCode {code}: {message}", pause).to(numbers(envelope))

    async def check(self, means: Means, trail: Trail) -> None:
        """Ask for the server.

        Source: "Server API", Get the server, Postmark developer documentation.
        """
        reply = await known(means, Request(self._server, self._headers, b"", self._secrets), trail)
        with trail.step(Stage.ACCOUNT) as said_:
            said_.append(f"server {said(reply.document.get('Name'))}")
            if said(reply.document.get("DeliveryType")) == _SANDBOX:
                said_.append("a sandbox server of Postmark: it takes mail and delivers none of it")


def _without_code(reply: Reply) -> Answer:
    """What did not come from Postmark's API, or from its last breath."""
    answer = by_status(reply, said(reply.text))
    if reply.status == _SERVER_ERROR:
        return Answer(Outcome.TEMPORARY, None, None, answer.text)
    if answer.outcome is Outcome.MESSAGE_PERMANENT:
        return Answer(Outcome.MISCONFIGURED, None, None, answer.text)
    return answer


def _taken(envelope: Envelope, document: Mapping[str, Any]) -> list[RecipientResult]:
    """Mail is taken for all but the inactive recipients, whom only the words name."""
    words, message = document.get("Message"), said(document.get("Message"))
    _, _, listed = (words if isinstance(words, str) else "").lower().partition(_INACTIVE_LIST)
    inactive = {word.strip(".") for word in listed.replace(",", " ").split()}
    named = identifier(document.get("MessageID"))
    taken = Answer(Outcome.ACCEPTED, None, None, message, provider_message_id=named)
    refused = Answer(Outcome.PERMANENT, None, None, message)
    return [
        result
        for n, recipient in envelope.recipients
        for result in (refused if recipient.address.lower() in inactive else taken).to([n])
    ]


def _document(message: Composed, audience: Audience) -> dict[str, Any]:
    fields = {
        "From": _mailboxes([message.sender]),
        "To": _mailboxes(audience.to),
        "Cc": _mailboxes(audience.cc),
        "Bcc": _mailboxes(audience.bcc),
        "ReplyTo": _mailboxes(message.reply_to),
        "Subject": message.subject,
        "TextBody": message.text,
        "HtmlBody": message.html,
        "Headers": [{"Name": name, "Value": value} for name, value in message.headers],
        "Attachments": [_file(file) for file in message.files],
    }
    return {name: value for name, value in fields.items() if value}


def _mailboxes(mailboxes: Sequence[Mailbox]) -> str:
    """Write addresses as in a header, with every name quoted."""
    return ", ".join(
        [f'"{each.name.translate(_QUOTED)}" <{each.address}>' if each.name else each.address for each in mailboxes]
    )


def _file(file: File) -> dict[str, str]:
    fields = {
        "Name": file.name,
        "Content": pybase64.b64encode_as_string(file.content),
        "ContentType": file.media_type,
    }
    return fields | ({"ContentID": f"cid:{file.content_id}"} if file.content_id else {})
