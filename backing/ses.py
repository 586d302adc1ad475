"""SES as mail is sent through it: one call, signed here, since with an SDK each would cost four times as much."""

from collections.abc import Awaitable, Callable
from typing import Final

from yarl import URL

from backing.signing import Keys, Post, Signer
from backing.skew import ServiceClock

# SendEmail of the SES API v2.
_PATH: Final = "/v2/email/outbound-emails"


class Ses:
    """Where SES takes mail in one region, and what a request there carries; see `Aws.ses`.

    Args:
        endpoint: URL of the service.
        signer: signs for it.
        keys: gives the credentials that are good now; raises `Unavailable`.
    """

    def __init__(self, endpoint: str, signer: Signer, keys: Callable[[], Awaitable[Keys]]) -> None:
        self.url: Final = URL(endpoint).with_path(_PATH)
        self._signer = signer
        self._keys = keys
        self._clock = ServiceClock()

    async def headers(self, body: bytes) -> dict[str, str]:
        """Give the headers for a JSON document to be posted there.

        Raises:
            Unavailable: there are no credentials to sign with.
        """
        post = Post(self.url.host_port_subcomponent or "", {"content-type": "application/json"}, body, _PATH)
        return self._signer.headers(post, await self._keys(), self._clock.now())

    def clock_was_off(self, code: str, date: str) -> bool:
        """Whether a request was refused for the time it was signed at, which is set right now; see `ServiceClock`."""
        return self._clock.set_by(code, date)
