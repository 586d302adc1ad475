"""Two target groups for one port of a service: the colour that serves, and the one the next release comes up in."""

from dataclasses import dataclass
from typing import Final, Literal

import pulumi_aws as aws
from pulumi import Output

Colour = Literal["blue", "green"]
COLOURS: Final[tuple[Colour, Colour]] = ("blue", "green")


@dataclass(frozen=True, kw_only=True)
class Target:
    """One colour's target group."""

    arn: Output[str]
    name: Output[str]
    arn_suffix: Output[str]
    """What CloudWatch calls it, in the dimension TargetGroup."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """How traffic gets to one port of a service, as whoever releases a new revision needs to know it."""

    container_port: int
    blue: Target
    green: Target
    production_listener_arn: Output[str]
    test_listener_arn: Output[str] | None = None
    """Where a release can be tried before anyone else sees it."""


def target(group: aws.lb.TargetGroup) -> Target:
    """Returns what others need to know of a target group."""
    return Target(arn=group.arn, name=group.name, arn_suffix=group.arn_suffix)
