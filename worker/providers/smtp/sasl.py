"""Signing in to a peer: AUTH PLAIN, LOGIN and CRAM-MD5 (RFC 4954, RFC 4616, RFC 2195)."""

import base64
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from mail.delivery import Outcome
from worker.providers.base import Answer, Failed
from worker.providers.smtp import outcomes
from worker.providers.smtp.connection import Connection
from worker.providers.smtp.outcomes import Step
from worker.providers.smtp.replies import Reply

_CHALLENGE: Final = 334


@dataclass(frozen=True, slots=True)
class _Login:
    user: bytes
    password: bytes


@dataclass(frozen=True, slots=True)
class _Mechanism:
    """What goes with AUTH, and what answers each challenge."""

    initial: Callable[[_Login], bytes] | None
    answers: tuple[Callable[[_Login, bytes], bytes], ...] = ()


def _digest(login: _Login, challenge: bytes) -> bytes:
    return login.user + b" " + hmac.new(login.password, challenge, "md5").hexdigest().encode()


# Over TLS all are as safe; the ones that more servers get right come first.
_MECHANISMS: Final[Mapping[str, _Mechanism]] = {
    "plain": _Mechanism(lambda login: b"\0" + login.user + b"\0" + login.password),
    "login": _Mechanism(lambda login: login.user, (lambda login, _: login.password,)),
    "cram-md5": _Mechanism(None, (_digest,)),
}


async def sign_in(connection: Connection, user: str, password: str) -> Reply:
    """Sign in by the first mechanism that the peer offers, too; gives what it says to that.

    Raises:
        Failed: there is none, or the peer refuses us.
    """
    offered = connection.extensions.get("auth", "").lower().split()
    name = next((name for name in _MECHANISMS if name in offered), None)
    if name is None:
        text = f"{Step.AUTH}: the peer offers none of {', '.join(_MECHANISMS)}"
        raise Failed(Answer(Outcome.MISCONFIGURED, None, None, text))
    login, mechanism = _Login(user.encode(), password.encode()), _MECHANISMS[name]
    command = b"AUTH " + name.upper().encode()
    if mechanism.initial:
        command += b" " + base64.b64encode(mechanism.initial(login))
    reply = await connection.command(command)
    for answer in mechanism.answers:
        if reply.code == _CHALLENGE:
            reply = await connection.command(base64.b64encode(answer(login, base64.b64decode(reply.text))))
    if not reply.good:
        raise Failed(outcomes.auth(reply))
    return reply
