"""Who is signed in to the console: a signed cookie, so that any task knows it."""

import base64
import hashlib
import hmac
from dataclasses import dataclass
from typing import Final

import orjson

from backing.ids import new_secret

_PURPOSE: Final = b"console session"


@dataclass(frozen=True, slots=True)
class Session:
    """A session.

    Attributes:
        prefix: of the key that was shown.
        token: what forms of this session carry, and forms of other sites cannot know.
        until: Unix time.
    """

    prefix: str
    token: str
    until: int


class Sessions:
    """Writes and reads the cookie.

    Args:
        key: of the credentials; the cookie is signed with one that is made of it.
        seconds: how long a session lasts.
    """

    def __init__(self, key: bytes, seconds: int) -> None:
        self._key = hmac.digest(key, _PURPOSE, hashlib.sha256)
        self.seconds = seconds

    def begin(self, prefix: str, now: float) -> tuple[Session, str]:
        """Begin a session; gives it and its cookie."""
        session = Session(prefix, new_secret(), int(now) + self.seconds)
        content = base64.urlsafe_b64encode(orjson.dumps([session.prefix, session.token, session.until]))
        return session, f"{content.decode()}.{self._signature(content)}"

    def read(self, cookie: str, now: float) -> Session | None:
        """Give the session that a cookie is of, or None if it is not ours or over."""
        content, _, signature = cookie.encode("ascii", "replace").rpartition(b".")
        if not hmac.compare_digest(signature, self._signature(content).encode()):
            return None
        prefix, token, until = orjson.loads(base64.urlsafe_b64decode(content))
        return Session(prefix, token, until) if now < until else None

    def _signature(self, content: bytes) -> str:
        return hmac.new(self._key, content, hashlib.sha256).hexdigest()
