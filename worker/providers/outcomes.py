"""What an SMTP peer's reply means, by the step it answers (RFC 5321, section 4.2; RFC 3463).

Only replies about a recipient or the message decide a recipient's fate. What concerns our standing with the provider,
its certificate, our password, its load, is the provider's trouble: mail waits for it and nothing bounces.
"""

import re
import ssl
from dataclasses import dataclass
from enum import StrEnum

from mail.delivery import Outcome
from worker.providers.base import Answer


class Step(StrEnum):
    """How far an attempt has come; what was asked last."""

    CONNECT = "connecting"
    AUTH = "signing in"
    MAIL = "MAIL FROM"
    RCPT = "RCPT TO"
    DATA = "DATA"
    BODY = "sending the message"
    SENT = "waiting for the reply to the message"


@dataclass(frozen=True, slots=True)
class PeerReply:
    """A reply as it came."""

    code: int
    text: str

    @property
    def good(self) -> bool:
        """Whether the peer did what it was asked."""
        return 200 <= self.code < 300  # noqa: PLR2004 - RFC 5321, 4.2.1: 2yz, positive completion

    @property
    def enhanced(self) -> str | None:
        """The enhanced status code it begins with, or None."""
        match = _ENHANCED.match(self.text)
        return match.group(1) if match else None


class Failed(Exception):  # noqa: N818 - an answer
    """The attempt cannot go on; carries the answer for every recipient that has none yet."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        super().__init__(answer.text)


_ENHANCED = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?=\s|$)")
_RELAY = re.compile(
    r"relay(ing)? (access )?(is )?(denied|not permitted|not allowed|prohibited)|unable to relay", re.IGNORECASE
)
_THROTTLE = re.compile(r"throttl|rate (limit )?exceeded|sending rate|quota exceeded|too many messages", re.IGNORECASE)

CLOSING = 421
_THROTTLED = 454
_AUTH_NEEDED = frozenset({530, 534, 535, 538})
_TOO_MANY_RECIPIENTS = frozenset({(452, "4.5.3"), (452, None), (552, None), (552, "5.5.3")})
_PERMANENT, _TEMPORARY = 5, 4


def banner(reply: PeerReply) -> Answer:
    """A greeting or EHLO other than the one hoped for: no service for us, now or at all."""
    outcome = Outcome.MISCONFIGURED if reply.code // 100 == _PERMANENT else Outcome.PROVIDER_DOWN
    return _answer(outcome, reply)


def auth(reply: PeerReply) -> Answer:
    """A refused AUTH; 454 is the peer's own trouble (RFC 4954, section 6)."""
    outcome = Outcome.PROVIDER_DOWN if reply.code // 100 == _TEMPORARY else Outcome.MISCONFIGURED
    return _answer(outcome, reply)


def mail(reply: PeerReply) -> Answer:
    """A refused MAIL: 5.7.x there is about what we may do at this provider, not about the message."""
    if reply.code in _AUTH_NEEDED or (reply.code // 100 == _PERMANENT and (reply.enhanced or "").startswith("5.7.")):
        return _answer(Outcome.MISCONFIGURED, reply)
    return _answer(_usual(reply), reply)


def rcpt(reply: PeerReply) -> Answer:
    """A refused RCPT; a peer that will not relay for us has not judged the recipient."""
    if reply.code in _AUTH_NEEDED or (reply.code // 100 == _PERMANENT and _RELAY.search(reply.text)):
        return _answer(Outcome.MISCONFIGURED, reply)
    if too_many(reply):
        return _answer(Outcome.TEMPORARY, reply)  # RFC 5321, 4.5.3.1.10: 552 is to be read as 452 here
    return _answer(_usual(reply), reply)


def too_many(reply: PeerReply) -> bool:
    """Whether the peer takes no more recipients in this transaction, so that the rest need another one."""
    return (reply.code, reply.enhanced) in _TOO_MANY_RECIPIENTS


def data(reply: PeerReply) -> Answer:
    """A refused DATA."""
    return _answer(Outcome.PROVIDER_DOWN if reply.good else _usual(reply), reply)


def final(reply: PeerReply) -> Answer:
    """The reply to the final dot: 2xx makes it the peer's mail, 4xx and 5xx leave it ours; all else tells nothing."""
    if reply.good:
        return _answer(Outcome.ACCEPTED, reply)
    if reply.code // 100 not in {_PERMANENT, _TEMPORARY}:
        return _answer(Outcome.UNKNOWN, reply)
    return _answer(_usual(reply), reply)


def _usual(reply: PeerReply) -> Outcome:
    if reply.code == CLOSING:
        return Outcome.PROVIDER_DOWN
    if reply.code // 100 == _PERMANENT:
        return Outcome.PERMANENT
    if reply.code // 100 != _TEMPORARY:
        return Outcome.PROVIDER_DOWN  # 1yz, 3yz, 6yz...: it speaks something else
    if reply.code == _THROTTLED or _THROTTLE.search(reply.text):
        return Outcome.THROTTLED
    return Outcome.TEMPORARY


def fault(step: Step, error: BaseException) -> Answer:
    """A connection that failed, fell silent or talked nonsense: once the final dot is out, nobody knows."""
    text = f"{step}: {_words(error)}"
    if step is Step.SENT:
        return Answer(Outcome.UNKNOWN, None, None, text)
    if _untrusted(error):
        return Answer(Outcome.MISCONFIGURED, None, None, text)
    return Answer(Outcome.PROVIDER_DOWN, None, None, text)


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


def _answer(outcome: Outcome, reply: PeerReply) -> Answer:
    return Answer(outcome, reply.code, reply.enhanced, reply.text)
