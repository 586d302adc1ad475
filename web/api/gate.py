"""Who calls: every request below /api/ shows a key, before anything of its body is read."""

from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backing.metrics import WebMetrics
from mail.keys import ApiKey
from web.doorkeeper import Doorkeeper
from web.edge import visit_of
from web.problems import Problem
from web.rates import Rates

PATHS: Final = "/api/"
_SCHEME: Final = "bearer "
_CHALLENGE: Final = 'Bearer realm="smtp-proxy"'


class Gate:
    """Lets requests in that show a good key and are within its rate; the rest are answered with 401 or 429.

    Args:
        app: what is inside.
        open_paths: beginnings of the paths that show something else than a key.
        doorkeeper: checks keys.
        rates: counts requests and failures.
        metrics: what is counted besides.
    """

    def __init__(
        self, app: ASGIApp, open_paths: tuple[str, ...], doorkeeper: Doorkeeper, rates: Rates, metrics: WebMetrics
    ) -> None:
        self._app = app
        self._open = open_paths
        self._doorkeeper = doorkeeper
        self._rates = rates
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or raise the problem that there is with it."""
        path = scope["path"]
        if not path.startswith(PATHS) or path.startswith(self._open):
            await self._app(scope, receive, send)
            return
        key = await self._key(scope)
        visit = visit_of(scope)
        visit.facts |= {"key": key.prefix, "account": key.account}
        standing = await self._rates.take(key)
        headers = standing.headers()
        if standing.over:
            self._metrics.limited.inc()
            words = f"this key may be used {standing.limit} times a minute; try again in {standing.reset} s"
            raise Problem(429, words, headers | {"Retry-After": str(standing.reset)})
        scope["state"]["key"] = key
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *raw]
            await send(message)

        await self._app(scope, receive, told)

    async def _key(self, scope: Scope) -> ApiKey:
        shown = _shown(scope)
        if shown is None:
            self._metrics.sign_ins.labels("none").inc()
            words = "show a key: Authorization: Bearer KEY"
            raise Problem(401, words, {"WWW-Authenticate": _CHALLENGE})
        client = scope.get("client")
        peer = client[0] if client else "unknown"
        key = await self._doorkeeper.check(shown, suspect=self._rates.suspect(peer))
        if key is None:
            self._metrics.sign_ins.labels("bad").inc()
            raise await self._refusal(peer)
        self._metrics.sign_ins.labels("good").inc()
        return key

    async def _refusal(self, peer: str) -> Problem:
        wait = await self._rates.failed(peer)
        if wait is not None:
            words = f"too many wrong keys from your address; try again in {wait} s, or with a good one at once"
            return Problem(429, words, {"Retry-After": str(wait)})
        challenge = f'{_CHALLENGE}, error="invalid_token"'
        return Problem(401, "the key is unknown, revoked or expired", {"WWW-Authenticate": challenge})


def _shown(scope: Scope) -> str | None:
    """The key that a request shows; of several there is none, since nobody knows which one is meant."""
    values = [value for name, value in scope["headers"] if name == b"authorization"]
    text = values[0].decode("latin-1") if len(values) == 1 else ""
    return text[len(_SCHEME) :].strip() if text[: len(_SCHEME)].lower() == _SCHEME else None
