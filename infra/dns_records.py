"""Records that a domain needs, as values: made where the stack has the zone, told to the operator where it has not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import pulumi_aws as aws
from pulumi import Input, Output, ResourceOptions

TTL_SECONDS: Final = 600


@dataclass(frozen=True, kw_only=True)
class DnsRecord:
    """One record. `role` tells it apart from the others of the same domain and is part of its name in Pulumi."""

    domain: str
    role: str
    name: Input[str]
    type: str
    value: Input[str]


def within(domain: str, zone: str) -> bool:
    """Tells whether a domain is the zone or below it."""
    return domain == zone or domain.endswith(f".{zone}")


def split(records: Sequence[DnsRecord], zone: str) -> tuple[list[DnsRecord], list[DnsRecord]]:
    """Returns the records of the stack's zone, and those that somebody else has to create."""
    ours = [record for record in records if within(record.domain, zone)]
    return ours, [record for record in records if record not in ours]


def declare(prefix: str, records: Sequence[DnsRecord], zone_id: Input[str], opts: ResourceOptions) -> None:
    """Declares the records in the zone."""
    for record in records:
        aws.route53.Record(
            f"{prefix}-{record.domain}-{record.role}",
            zone_id=zone_id,
            name=record.name,
            type=record.type,
            ttl=TTL_SECONDS,
            records=[record.value],
            opts=opts,
        )


def told(records: Sequence[DnsRecord]) -> Output[list[Mapping[str, str]]]:
    """Returns the records as an operator enters them elsewhere."""
    rows = [{"name": record.name, "type": record.type, "value": record.value} for record in records]
    return Output.all(*[Output.all(**row) for row in rows]).apply(list)
