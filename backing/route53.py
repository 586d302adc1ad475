"""TXT records in a Route 53 zone, for as long as somebody has to see them."""

import asyncio
from collections.abc import Collection, Mapping
from typing import Any, Final

from botocore.exceptions import ClientError

from backing.sqs import FAULTS
from mail.errors import Unavailable

_TTL_SECONDS: Final = 60
_LOOK_SECONDS: Final = 2.0
# The record is not there, or the zone is not for it.
_INVALID: Final = "InvalidChangeBatch"


class WrongZone(Exception):  # noqa: N818 - a fact about a zone
    """The zone does not take a record; says why in Route 53's own words."""


class Zone:
    """A hosted zone.

    Args:
        client: of Route 53, which has no regions.
        zone_id: as `Z0123456789ABCDEFGHIJ`.
        look_seconds: how often a change is looked after.
    """

    def __init__(self, client: Any, zone_id: str, look_seconds: float = _LOOK_SECONDS) -> None:
        self._client = client
        self._id = zone_id
        self._look_seconds = look_seconds

    async def publish(self, texts: Mapping[str, Collection[str]], seconds: float) -> None:
        """Set TXT records by name (`route53:ChangeResourceRecordSets`), and wait for all servers to have them
        (`route53:GetChange`).

        Raises:
            WrongZone: a name does not belong to the zone.
            Unavailable: Route 53 did not answer as it should, or some server has no new records in time.
        """  # noqa: D205 - one sentence
        change = await self._change("UPSERT", texts)
        try:
            async with asyncio.timeout(seconds):
                while change["Status"] != "INSYNC":
                    await asyncio.sleep(self._look_seconds)
                    change = (await self._client.get_change(Id=change["Id"]))["ChangeInfo"]
        except TimeoutError:
            raise Unavailable(f"Route 53 {self._id}: records are not everywhere after {seconds:g} s") from None
        except FAULTS as fault:
            raise Unavailable(f"Route 53 GetChange: {type(fault).__name__}: {fault}") from fault

    async def withdraw(self, texts: Mapping[str, Collection[str]]) -> None:
        """Remove what was set; what is gone already is fine.

        Raises:
            Unavailable: Route 53 did not answer as it should.
        """
        for name, values in texts.items():
            try:
                await self._change("DELETE", {name: values})
            except WrongZone:
                continue

    async def _change(self, action: str, texts: Mapping[str, Collection[str]]) -> dict[str, str]:
        changes = [{"Action": action, "ResourceRecordSet": _record(name, values)} for name, values in texts.items()]
        try:
            answer = await self._client.change_resource_record_sets(
                HostedZoneId=self._id, ChangeBatch={"Comment": "ACME challenge", "Changes": changes}
            )
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == _INVALID:
                raise WrongZone(f"Route 53 zone {self._id}: {error.response['Error'].get('Message')}") from None
            raise Unavailable(f"Route 53 {self._id}: {error}") from error
        except FAULTS as fault:
            raise Unavailable(f"Route 53 {self._id}: {type(fault).__name__}: {fault}") from fault
        change: dict[str, str] = answer["ChangeInfo"]
        return change


def _record(name: str, values: Collection[str]) -> dict[str, Any]:
    records = [{"Value": f'"{value}"'} for value in sorted(values)]
    return {"Name": name, "Type": "TXT", "TTL": _TTL_SECONDS, "ResourceRecords": records}
