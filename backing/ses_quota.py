"""What Amazon SES allows an account: GetAccount, which may be called once a second in all."""

import math
from collections.abc import Mapping
from typing import Any

from aiohttp.abc import AbstractResolver

from backing.aws import Aws
from backing.sqs import FAULTS
from mail.errors import Unavailable
from mail.limits import SendQuota


async def ses_quota(
    aws: Aws, region: str | None, endpoint: str | None, resolver: AbstractResolver | None = None
) -> SendQuota:
    """Ask SES for the quota of the account in a region.

    Raises:
        Unavailable: SES did not answer, or refused (`ses:GetAccount` is needed).
    """
    return quota_of(await ses_account(aws, region, endpoint, resolver))


async def ses_account(
    aws: Aws, region: str | None, endpoint: str | None, resolver: AbstractResolver | None = None
) -> Mapping[str, Any]:
    """Ask SES for all that it tells of the account in a region; raises as above."""
    try:
        async with aws.sesv2(region, endpoint, resolver) as client:
            return await client.get_account()
    except FAULTS as fault:
        raise Unavailable(f"SES GetAccount: {type(fault).__name__}: {fault}") from fault


def quota_of(account: Mapping[str, Any]) -> SendQuota:
    """Read the answer to GetAccount; SES says -1 for a quota without limit, and counts recipients."""
    said = account.get("SendQuota") or {}
    rate, daily, sent = (float(said.get(key, -1)) for key in ("MaxSendRate", "Max24HourSend", "SentLast24Hours"))
    return SendQuota(
        rate=rate if rate > 0 else None,
        left=max(math.floor(daily - max(sent, 0.0)), 0) if daily >= 0 else None,
        enabled=account.get("SendingEnabled") is not False,
    )
