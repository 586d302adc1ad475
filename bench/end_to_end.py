"""From a client over relay, queue and worker to a provider at a steady load (PR-1): `python -m bench.end_to_end`.

The relay says 250 when the queue has a message; it is at its end when PostgreSQL knows that the provider took it.
"""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from bench import machine, relay_sqs, site
from bench.relay_messages import run
from bench.site import Site
from local import tenant

MESSAGES_A_MINUTE = 10_000
SESSIONS, SECONDS, SIZE = 50, 30, 4096
WARM_UP = 20

# A message that was not delivered has no row here.
WAYS = """
SELECT extract(epoch FROM attempt.finished_at - message.accepted_at)::float8
FROM message JOIN attempt ON attempt.delivery_id = message.id AND attempt.account_id = message.account_id
WHERE message.account_id = %s AND attempt.outcome = 'accepted' AND message.accepted_at >= %s
"""


def sender(here: Site) -> UUID:
    """Give the local stack's account, which sends to the stand-in for a provider from now on."""
    row = here.database.execute("SELECT id FROM account WHERE name = %s", [tenant.NAME]).fetchone()
    assert row
    account: UUID = row[0]
    here.provide(account, "bench", "smtp", here.smtp_config())
    return account


async def measure(here: Site) -> None:
    account = sender(here)
    rate = MESSAGES_A_MINUTE / 60
    plan = relay_sqs.plan(here.stack, SIZE, SESSIONS, round(rate * SECONDS / SESSIONS))
    await asyncio.to_thread(run, replace(plan, each=WARM_UP))
    since = datetime.now(UTC)
    seen = await asyncio.to_thread(run, replace(plan, rate=rate))
    async with site.line() as line:
        await line.empty()
    ways = [row[0] for row in here.database.execute(WAYS, [account, since])]
    accepted, at_its_end = (machine.percentiles(seconds) for seconds in (seen["accept"], ways))
    for name, figures, target in (("accepted", accepted, 100), ("at its end", at_its_end, 5000)):
        print(f"{name:20} {figures[0]:8.1f} {figures[1]:8.1f} {figures[2]:8.1f} {target:7}", flush=True)
    print(
        f"{seen['accepted']} accepted at {seen['accepted'] / seen['seconds'] * 60:.0f} a minute, {len(ways)} delivered."
    )
    if seen["accepted"] != len(ways):
        raise SystemExit("messages were lost, or were sent twice")


def main() -> None:
    print(f"{SESSIONS} sessions over STARTTLS, 4 KB, {MESSAGES_A_MINUTE} messages a minute: ms from the end of DATA")
    print("to the 250, and from when the relay had a message to when it was written down that the provider took it")
    print(f"{'':20} {'P50':>8} {'P95':>8} {'P99':>8} {'target':>7}")
    with site.standing() as here:
        asyncio.run(measure(here))


if __name__ == "__main__":
    main()
