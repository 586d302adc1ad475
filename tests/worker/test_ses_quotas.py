"""What SES says of an account, asked of a server that speaks its HTTP."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from backing.aws import Aws
from backing.ids import new_id
from backing.postgres.routing import ProviderRow
from backing.ses_quota import quota_of, ses_quota
from mail.errors import Unavailable
from mail.limits import SendQuota
from tests.conftest import REGION
from worker.gate import SesQuotas

pytestmark = pytest.mark.anyio
SES, OTHER = new_id(), new_id()


@asynccontextmanager
async def ses(status: int, answer: dict[str, Any]) -> AsyncIterator[SesQuotas]:
    """Quotas of an SES that answers so."""

    async def account(_: web.Request) -> web.Response:
        return web.Response(status=status, text=json.dumps(answer), content_type="application/json")

    app = web.Application()
    app.router.add_get("/v2/email/account", account)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        quotas = SesQuotas(partial(ses_quota, Aws(REGION)))
        for name in (SES, OTHER):
            kind = "ses" if name == SES else "smtp"
            quotas.know(
                ProviderRow(name, kind, kind, {"endpoint": url}, None, 1, enabled=True, limits={}, allowed_domains=None)
            )
        yield quotas
    finally:
        await runner.cleanup()


@pytest.mark.requirement("FLOW-OUT-003")
async def test_the_quota_of_an_account_is_read() -> None:
    said = {"SendQuota": {"Max24HourSend": 50000.0, "MaxSendRate": 14.0, "SentLast24Hours": 120.5}}
    async with ses(200, said | {"SendingEnabled": True}) as quotas:
        assert await quotas.quota(SES) == SendQuota(rate=14.0, left=49879, enabled=True)
        assert await quotas.quota(OTHER) is None


async def test_a_refusal_is_told_with_its_reason() -> None:
    refusal = {"__type": "AccessDeniedException", "message": "not authorized to perform: ses:GetAccount"}
    async with ses(403, refusal) as quotas:
        with pytest.raises(Unavailable, match=r"SES GetAccount: .*not authorized to perform: ses:GetAccount"):
            await quotas.quota(SES)


@pytest.mark.parametrize(
    ("account", "quota"),
    [
        ({"SendQuota": {"Max24HourSend": -1.0, "MaxSendRate": 500.0}}, SendQuota(500.0, None)),
        (
            {"SendQuota": {"Max24HourSend": 200.0, "MaxSendRate": 1.0, "SentLast24Hours": 201.0}},
            SendQuota(1.0, 0),
        ),
        (
            {"SendQuota": {"Max24HourSend": 0.0, "MaxSendRate": 0.0}, "SendingEnabled": False},
            SendQuota(None, 0, enabled=False),
        ),
        ({}, SendQuota(None, None)),
    ],
)
def test_numbers_that_stand_for_no_number_are_none(account: dict[str, Any], quota: SendQuota) -> None:
    assert quota_of(account) == quota
