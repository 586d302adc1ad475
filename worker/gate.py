"""Whether a provider may be asked now: the control over providers, as the courier sees it."""

from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

from aiohttp import ThreadedResolver
from yarl import URL

from backing.aws import Aws
from backing.postgres.routing import ProviderRow
from backing.ses_quota import ses_quota
from mail.delivery import RecipientResult
from mail.endpoints import Network
from mail.errors import Unavailable
from mail.limits import SendQuota
from worker.control.admission import Admission, Grant
from worker.control.control import Control
from worker.guard import PROVIDERS, Guard, addresses

_SES = "ses"


class SesQuotas:
    """Asks SES for the quotas of the providers that are SES; they are known once mail goes to them.

    Args:
        ask: gives the quota in a region, at an endpoint.
    """

    def __init__(self, ask: Callable[[str | None, str | None], Awaitable[SendQuota]]) -> None:
        self._ask = ask
        self._known: dict[UUID, ProviderRow] = {}

    def know(self, row: ProviderRow) -> None:
        """Take note of a provider."""
        if row.kind == _SES:
            self._known[row.id] = row

    async def quota(self, provider_id: UUID) -> SendQuota | None:
        """Give a provider's quota; None where it is of another kind.

        Raises:
            Unavailable: it did not answer.
        """
        row = self._known.get(provider_id)
        return await self._ask(_text(row, "region"), _text(row, "endpoint")) if row else None


async def guarded_quota(aws: Aws, allowed: Sequence[Network], region: str | None, endpoint: str | None) -> SendQuota:
    """Ask SES for its quota, where a row says that it is only if we may go there.

    Args:
        aws: the worker's own credentials.
        allowed: networks that providers may be in beside the public internet.
        region: of the row, or None for our own.
        endpoint: the same.

    Raises:
        Unavailable: it did not answer, or is where we may not go.
    """
    if endpoint is None:
        return await ses_quota(aws, region, None)
    try:
        url = URL(endpoint)
        # An address in a URL is asked of no resolver.
        await addresses(url.host or "", url.port or 443, allowed, PROVIDERS)
    except (OSError, ValueError) as fault:
        raise Unavailable(f"SES GetAccount: {fault}") from fault
    return await ses_quota(aws, region, endpoint, Guard(ThreadedResolver(), allowed, PROVIDERS))


class Gate:
    """Keeps attempts within what providers allow."""

    def __init__(self, control: Control, quotas: SesQuotas) -> None:
        self._control = control
        self._quotas = quotas

    async def admit(self, row: ProviderRow, account_id: UUID, recipients: int, patience: float) -> Admission:
        """Wait, up to so many seconds, until a provider may be asked for so many recipients."""
        self._quotas.know(row)
        return await self._control.admit(row, account_id, recipients, patience)

    def told(self, grant: Grant, results: Sequence[RecipientResult]) -> None:
        """Learn from what it answered; without results the attempt was not made."""
        if results:
            self._control.told(grant, results)
        else:
            self._control.give_back(grant)


def _text(row: ProviderRow, key: str) -> str | None:
    value = row.config.get(key)
    return value if isinstance(value, str) else None
