"""How long a peer is waited for, by what it is to do, and how slow a message may be (CORE-SMTP-007)."""

from dataclasses import dataclass
from typing import NamedTuple, Self

from mail.errors import Reply
from relay import replies
from relay.settings import RelaySettings

# A client that has not signed in may stay for so many waits in all, whatever it says meanwhile.
_STRANGER_WAITS = 5
# A PROXY header is one segment, and comes first; a handshake takes two round trips and a slow client's arithmetic.
_HANDSHAKES_IN_HEADER = 3
# The intake keeps to its own limit, once.
_COMMITS = 2


class Timer(NamedTuple):
    """A longest wait, and how the session ends after it.

    Attributes:
        why: for the log.
        reply: the last word, None where none can be said.
    """

    seconds: float
    why: str
    reply: Reply | None


@dataclass(frozen=True, slots=True)
class Timers:
    """All waits of a session.

    Attributes:
        header: seconds for a PROXY header.
        handshake: for TLS, from its first octet to the last.
        stranger: for each command, before the client has signed in.
        stranger_seconds: for signing in at all.
        command: for each command, after that (RFC 5321, 4.5.3.2.7: 5 minutes at least).
        data: for the next octets of a message (RFC 5321, 4.5.3.2.5: 3 minutes).
        commit: for our own answer to a message, which comes earlier unless something is broken.
        rate: least octets a second of a message, 0 for any.
        window_seconds: over which that is judged.
    """

    header: float
    handshake: Timer
    stranger: Timer
    stranger_seconds: float
    command: Timer
    data: Timer
    commit: Timer
    rate: int
    window_seconds: float

    @classmethod
    def of(cls, settings: RelaySettings) -> Self:
        """Take them from the settings."""
        idle = settings.relay_idle_timeout_seconds
        stranger = min(idle, settings.relay_sign_in_timeout_seconds)
        handshake = min(idle, settings.relay_handshake_timeout_seconds)
        return cls(
            header=handshake / _HANDSHAKES_IN_HEADER,
            handshake=Timer(handshake, "TLS timeout", None),
            stranger=Timer(stranger, "idle", replies.IDLE),
            stranger_seconds=stranger * _STRANGER_WAITS,
            command=Timer(idle, "idle", replies.IDLE),
            data=Timer(settings.relay_data_timeout_seconds, "data timeout", replies.DATA_TIMEOUT),
            commit=Timer(_COMMITS * settings.relay_accept_timeout_seconds, "no answer to a message", replies.BROKEN),
            rate=settings.relay_min_octets_per_second,
            window_seconds=settings.relay_rate_window_seconds,
        )

    def before_sign_in(self, stayed: float) -> Timer:
        """The wait for a command of a client that has been here for so many seconds and not signed in."""
        left = self.stranger_seconds - stayed
        if left < self.stranger.seconds:
            return Timer(max(left, 0.0), "not signed in", replies.SIGN_IN_TIMEOUT)
        return self.stranger


class Pace:
    """Judges how fast a message comes. Only the time that we waited counts, not what we took ourselves.

    Args:
        rate: least octets a second.
        window_seconds: of waiting, after which it is judged, and from which on it is judged anew.
    """

    __slots__ = ("_octets", "_rate", "_seconds", "_window_seconds")

    def __init__(self, rate: int, window_seconds: float) -> None:
        self._rate = rate
        self._window_seconds = window_seconds
        self._seconds = 0.0
        self._octets = 0

    def keeps(self, waited: float, octets: int) -> bool:
        """Note how many octets came after how many seconds; tell whether that is fast enough."""
        self._seconds += waited
        self._octets += octets
        if self._seconds < self._window_seconds:
            return True
        enough = self._octets >= self._rate * self._seconds
        self._seconds, self._octets = 0.0, 0
        return enough
