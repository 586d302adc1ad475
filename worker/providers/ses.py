"""Amazon SES (API v2): the message goes as it is, in raw form; only the envelope says who gets it."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

import pybase64
from aiohttp import ThreadedResolver

from backing.provider_configs import SES_MAX_RECIPIENTS, SesConfig
from backing.ses import Ses
from backing.ses_quota import quota_of, ses_account
from mail.delivery import Outcome, RecipientResult, Scope
from mail.dkim import REWRITTEN_BY_SES
from mail.errors import Unavailable
from worker.guard import PROVIDERS, Guard
from worker.providers.api import OK, TOO_MANY, Again, ApiProvider, by_status, identifier, numbers, said
from worker.providers.base import Answer, Capabilities, Envelope, Failed, Provider, Setup
from worker.providers.config import read_config
from worker.providers.marks import marks
from worker.providers.means import Means
from worker.providers.reach import reached
from worker.providers.signing import Signing, signing
from worker.providers.trail import Stage, Trail
from worker.providers.web import Reply, Request

# "Service quotas in Amazon SES": message size and recipients per message.
_MAX_OCTETS: Final = 40_000_000
_EVIDENCE_SECONDS: Final = 120.0

_SECRETS: Final = ("x-amz-security-token",)
_THROTTLES: Final = frozenset(
    {"TooManyRequestsException", "ThrottlingException", "Throttling", "LimitExceededException"}
)
_OUR_STANDING: Final = re.compile(
    r"MailFromDomainNotVerified|NotFound|SendingPaused|AccountSuspended|AccessDenied|Signature|Token|Unrecognized|Expired"
)
_NOT_ALLOWED: Final = re.compile(
    r"not verified|not authori[sz]ed|sending (is |has been )?(paused|suspended|disabled)|did not have authority",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(r"address|recipient|local part|@domain|domain name", re.IGNORECASE)


class SesApi:
    """Speaks to SES: one SendEmail for each recipient, or for several.

    Args:
        ses: where to, and signed by whom.
        config: what the row says.
    """

    capabilities = Capabilities(
        verified_tls=True,
        max_recipients=SES_MAX_RECIPIENTS,
        max_octets=_MAX_OCTETS,
        smtputf8=False,
        evidence_seconds=_EVIDENCE_SECONDS,
        rewrites_message_id=True,
    )

    def __init__(self, ses: Ses, config: SesConfig) -> None:
        self._ses = ses
        self._place = config.region, config.endpoint
        self.per_call = config.max_recipients
        self._fields = {
            name: value
            for name, value in {
                "ConfigurationSetName": config.configuration_set,
                "FeedbackForwardingEmailAddress": config.feedback_address,
                "TenantName": config.tenant,
            }.items()
            if value
        }

    @classmethod
    async def create(cls, setup: Setup, means: Means) -> Provider:
        """Build the provider that a configuration describes; calls nothing yet.

        Raises:
            BadConfig: the configuration contradicts itself or lacks something.
        """
        config = read_config(SesConfig, setup)
        there = means if config.endpoint else means.at_ours()
        provider = ApiProvider(there, cls(await means.aws.ses(config.region, config.endpoint), config))
        return Signing(provider, await signing(config.dkim, setup, REWRITTEN_BY_SES))

    async def request(self, envelope: Envelope, body: bytes) -> Request:
        """Write a SendEmail; without FromEmailAddress, which would replace the From header."""
        fields = self._fields | {
            "Destination": {"ToAddresses": [recipient.address for _, recipient in envelope.recipients]},
            "EmailTags": [{"Name": name, "Value": value} for name, value in marks(envelope).items()],
        }
        # The message is spliced in: its base64 needs no quoting, and may be long.
        raw = b'{"Content":{"Raw":{"Data":"' + pybase64.b64encode(body) + b'"}},'
        document = raw + json.dumps(fields).encode()[1:]
        try:
            headers = await self._ses.headers(document)
        except Unavailable as fault:
            raise Failed(Answer(Outcome.PROVIDER_DOWN, None, None, str(fault))) from fault
        # A refused signature is explained with the request's headers.
        return Request(self._ses.url, headers, document, [headers[name] for name in _SECRETS if name in headers])

    def results(self, envelope: Envelope, reply: Reply) -> list[RecipientResult] | None:
        """Read the answer to SendEmail.

        Source: "SendEmail", Errors, in the SES API v2 Reference; "Common Errors" there.
        """
        document = reply.document
        message_id = identifier(document.get("MessageId"))
        if reply.status == OK and message_id:
            answer = Answer(Outcome.ACCEPTED, None, None, f"HTTP {OK}: {message_id}", provider_message_id=message_id)
            return answer.to(numbers(envelope))
        message = said(document.get("message"), document.get("Message"))
        name = _name(reply)
        answer = _refusal(reply, name, message)
        if self._ses.clock_was_off(name, reply.headers.get("Date", "")):
            raise Again(answer)
        # One bad address fails a call as a whole.
        if answer.outcome is Outcome.MESSAGE_PERMANENT and _ADDRESS.search(message) and len(envelope.recipients) > 1:
            return None
        return answer.to(numbers(envelope))

    async def check(self, means: Means, trail: Trail) -> None:
        """Ask for the account, which may be done once a second in all; a worker in use does once a minute.

        Source: "GetAccount", SES API v2 Reference.
        """
        await reached(self._ses.url, means.allowed, means.context, trail)
        with trail.step(Stage.SIGN_IN) as said_:
            account = await _account(means, *self._place)
            said_.append("the worker's role is known")
        with trail.step(Stage.ACCOUNT) as said_:
            quota = quota_of(account)
            if not quota.enabled:
                raise Failed(Answer(Outcome.MISCONFIGURED, None, None, "SES has paused sending for this account"))
            said_ += [f"{quota.rate or 'any number of'} recipients per second"]
            said_ += [f"{'any number' if quota.left is None else quota.left} left of the day"]
            if account.get("ProductionAccessEnabled") is False:
                said_.append("in the SES sandbox: it sends to verified addresses only")


async def _account(means: Means, region: str | None, endpoint: str | None) -> Mapping[str, Any]:
    # The name is asked for again, and may lead elsewhere by now.
    guard = Guard(ThreadedResolver(), means.allowed, PROVIDERS) if endpoint else None
    try:
        return await ses_account(means.aws, region, endpoint, guard)
    except Unavailable as fault:
        refused = _OUR_STANDING.search(str(fault))
        outcome = Outcome.MISCONFIGURED if refused else Outcome.PROVIDER_DOWN
        raise Failed(Answer(outcome, None, None, str(fault))) from fault


def _name(reply: Reply) -> str:
    named = reply.headers.get("x-amzn-ErrorType") or reply.document.get("__type")
    return (named if isinstance(named, str) else "").partition(":")[0].rpartition("#")[2]


def _refusal(reply: Reply, name: str, message: str) -> Answer:
    text = f"{name}: {message}" if name else message
    answer = by_status(reply, text)
    if reply.status == TOO_MANY or name in _THROTTLES:
        scope = Scope.DAY if "daily" in message.lower() else Scope.RATE
        return Answer(Outcome.THROTTLED, None, None, answer.text, reply.retry_after, scope)
    if answer.outcome is not Outcome.MESSAGE_PERMANENT:
        return answer
    if not name or _OUR_STANDING.search(name) or _NOT_ALLOWED.search(message):
        return Answer(Outcome.MISCONFIGURED, None, None, answer.text)
    return answer
