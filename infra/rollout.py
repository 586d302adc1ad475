"""How a new revision of a service takes the place of the old one: three ways, each as a value."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pulumi import Input

ROLLING_TIMEOUT: Final = "30m"
# AWS: with a Network Load Balancer, ECS adds ten minutes to each shift of traffic, beside the bake times.
CANARY_TIMEOUT: Final = "120m"


@dataclass(frozen=True, kw_only=True)
class Rolling:
    """Tasks are replaced one after the other; back again when they do not start, or an alarm rings (ECS-006)."""

    alarms: Sequence[Input[str]] = ()
    minimum_percent: int = 100
    maximum_percent: int = 200


@dataclass(frozen=True, kw_only=True)
class NativeCanary:
    """ECS starts the new revision beside the old and shifts traffic in two steps; the only canary for an NLB."""

    percent: float = 10
    canary_bake_minutes: int = 15
    bake_minutes: int = 10
    """How long the old revision is kept after all traffic has left it."""
    alarms: Sequence[Input[str]] = ()


@dataclass(frozen=True, kw_only=True)
class CodeDeploy:
    """CodeDeploy starts and shifts; ECS then refuses most changes from elsewhere."""


Rollout = Rolling | NativeCanary | CodeDeploy

# AWS: UpdateService of a service with this controller takes none of them.
OWNED_BY_CODEDEPLOY: Final = ("task_definition", "load_balancers", "network_configuration", "platform_version")


def alarms(rollout: Rollout) -> Sequence[Input[str]]:
    """Returns the names of the alarms that end a rollout."""
    return () if isinstance(rollout, CodeDeploy) else rollout.alarms


def ignored(rollout: Rollout, *, scaled: bool) -> list[str]:
    """Returns the properties of the service that somebody else sets.

    Args:
        rollout: how new revisions come.
        scaled: the number of tasks is set by auto scaling.
    """
    owned = OWNED_BY_CODEDEPLOY if isinstance(rollout, CodeDeploy) else ()
    return [*owned, *(["desired_count"] if scaled else [])]


def timeout(rollout: Rollout) -> str:
    """Returns how long Pulumi waits for the end of a rollout."""
    return CANARY_TIMEOUT if isinstance(rollout, NativeCanary) else ROLLING_TIMEOUT
