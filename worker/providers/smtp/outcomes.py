"""What an SMTP peer's reply means, by the step it answers (RFC 5321, section 4.2; RFC 3463).

Only replies about a recipient or the message decide a recipient's fate. What concerns our standing with the provider,
its certificate, our password, its load, is the provider's trouble: mail waits for it and nothing bounces.
"""

import re
import ssl
from enum import StrEnum
from typing import Final

from mail.delivery import Outcome, Scope
from worker.providers.base import Answer
from worker.providers.smtp import hints
from worker.providers.smtp.replies import CLOSING, Reply


class Step(StrEnum):
    """How far an attempt has come; what was asked last."""

    CONNECT = "connecting"
    AUTH = "signing in"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    BODY = "sending the message"
    SENT = "waiting for the reply to the message"


_RELAY = re.compile(
    r"relay(ing)? (access )?(is )?(denied|not permitted|not allowed|prohibited)|unable to relay", re.IGNORECASE
)
# About us: Amazon SES says so of senders that are not verified, others of accounts.
_STANDING = re.compile(
    r"(address|identity|domain) is not verified|sending (is |has been )?(paused|suspended|disabled)|"
    r"your account (is |has been )?(paused|suspended|disabled|blocked)",
    re.IGNORECASE,
)

_THROTTLED: Final = 454  # what Amazon SES says, with words and without
_AUTH_NEEDED: Final = frozenset({530, 534, 535, 538})
_TOO_MANY_RECIPIENTS: Final = frozenset({(452, "4.5.3"), (452, None), (552, None), (552, "5.5.3")})
_PERMANENT, _TEMPORARY = 5, 4
# RFC 3463, section 3: the second number says what it is about.
_ADDRESS: Final = frozenset({"1", "2"})
_CONTENT, _POLICY = "6", "7"
_TOO_LARGE: Final = "5.3.4"
_RATES: Final = frozenset({"4.7.28", "5.4.5"})  # Google


def banner(reply: Reply) -> Answer:
    """A greeting, EHLO or STARTTLS other than the one hoped for: no service for us, now or at all."""
    if throttled := _throttled(reply):
        return throttled
    return _answer(Outcome.MISCONFIGURED if reply.code // 100 == _PERMANENT else Outcome.PROVIDER_DOWN, reply)


def auth(reply: Reply) -> Answer:
    """A refused AUTH; 454 is the peer's own trouble (RFC 4954, section 6)."""
    if throttled := _throttled(reply):
        return throttled
    return _answer(Outcome.PROVIDER_DOWN if reply.code // 100 == _TEMPORARY else Outcome.MISCONFIGURED, reply)


def mail(reply: Reply) -> Answer:
    """A refused MAIL: 5.7.x there is about what we may do at this provider, 552 about the size that it was told."""
    if _ours(reply) or (reply.code // 100 == _PERMANENT and _about(reply) == _POLICY):
        return _throttled(reply) or _answer(Outcome.MISCONFIGURED, reply)
    if reply.code == 552 and not reply.enhanced:  # noqa: PLR2004 - RFC 1870, section 6.1
        return _answer(Outcome.MESSAGE_PERMANENT, reply)
    return _usual(reply)


def rcpt(reply: Reply) -> Answer:
    """A refused RCPT; a peer that will not relay for us has not judged the recipient."""
    if reply.code in _AUTH_NEEDED or (reply.code // 100 == _PERMANENT and _RELAY.search(reply.text)):
        return _answer(Outcome.MISCONFIGURED, reply)
    if too_many(reply):
        return _answer(Outcome.TEMPORARY, reply)  # RFC 5321, 4.5.3.1.10: 552 is to be read as 452 here
    return _usual(reply)


def too_many(reply: Reply) -> bool:
    """Whether the peer takes no more recipients in this transaction, so that the rest need another one."""
    return (reply.code, reply.enhanced) in _TOO_MANY_RECIPIENTS


def data(reply: Reply) -> Answer:
    """A refused DATA."""
    return _answer(Outcome.PROVIDER_DOWN, reply) if reply.good else _content(reply)


def final(reply: Reply) -> Answer:
    """The reply to the final dot: 2xx makes it the peer's mail, 4xx and 5xx leave it ours; all else tells nothing."""
    if reply.good:
        name = hints.message_id(reply.text)
        return Answer(Outcome.ACCEPTED, reply.code, reply.enhanced, reply.text, provider_message_id=name)
    return _content(reply) if reply.refused else _answer(Outcome.UNKNOWN, reply)


def fault(step: Step, error: BaseException) -> Answer:
    """A connection that failed, fell silent or talked nonsense: once the final dot is out, nobody knows."""
    text = f"{step}: {_words(error)}"
    if step is Step.SENT:
        return Answer(Outcome.UNKNOWN, None, None, text)
    if _untrusted(error):
        return Answer(Outcome.MISCONFIGURED, None, None, text)
    return Answer(Outcome.PROVIDER_DOWN, None, None, text)


def _usual(reply: Reply) -> Answer:
    if throttled := _throttled(reply, by_code=True):
        return throttled
    if reply.code == CLOSING:
        return _answer(Outcome.PROVIDER_DOWN, reply)
    if reply.code // 100 == _PERMANENT:
        of_content = _about(reply) == _CONTENT or reply.enhanced == _TOO_LARGE
        return _answer(Outcome.MESSAGE_PERMANENT if of_content else Outcome.PERMANENT, reply)
    if reply.code // 100 == _TEMPORARY:
        return _answer(Outcome.TEMPORARY, reply)
    return _answer(Outcome.PROVIDER_DOWN, reply)  # 1yz, 3yz, 6yz...: it speaks something else


def _content(reply: Reply) -> Answer:
    """After its recipients were taken, a refusal is of the message, unless it says that it is of an address or us."""
    if reply.code // 100 != _PERMANENT or _about(reply) in _ADDRESS:
        return _usual(reply)
    if throttled := _throttled(reply):
        return throttled
    return _answer(Outcome.MISCONFIGURED if _ours(reply) else Outcome.MESSAGE_PERMANENT, reply)


def _ours(reply: Reply) -> bool:
    """Whether a refusal is of us, who have to sign in, or whose account or address is not in order there."""
    return reply.code in _AUTH_NEEDED or (reply.code // 100 == _PERMANENT and bool(_STANDING.search(reply.text)))


def _throttled(reply: Reply, *, by_code: bool = False) -> Answer | None:
    """A reply that says that we send too much; a full mailbox is a recipient's trouble, whatever its words.

    A refusal for good has to speak of a day, or be known: "too many messages" there may be about a recipient.
    """
    if not reply.refused or _about(reply) in _ADDRESS:
        return None
    scope = hints.throttle(reply.text)
    if reply.enhanced in _RATES or (by_code and reply.code == _THROTTLED):
        scope = scope or Scope.RATE
    if scope is None or (reply.code // 100 == _PERMANENT and scope is Scope.RATE and reply.enhanced not in _RATES):
        return None
    wait = hints.retry_after(reply.text)
    return Answer(Outcome.THROTTLED, reply.code, reply.enhanced, reply.text, retry_after=wait, scope=scope)


def _about(reply: Reply) -> str | None:
    return reply.enhanced.split(".")[1] if reply.enhanced else None


def _answer(outcome: Outcome, reply: Reply) -> Answer:
    wait = hints.retry_after(reply.text) if reply.code // 100 == _TEMPORARY else None
    return Answer(outcome, reply.code, reply.enhanced, reply.text, retry_after=wait)


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return "no answer in time"
    return str(error) or type(error).__name__


def _untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
