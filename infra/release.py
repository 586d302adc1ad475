"""The release of a new revision as a resource of the stack: CodeDeploy's deployments are none in Pulumi's SDK."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final, cast

from pulumi import Input, Output, ResourceOptions, dynamic
from pulumi.dynamic.dynamic import PROVIDER_KEY

from infra.codedeploy import Rollout, Steady, Wanted

_ANSWERED: Final = "deployment_id"


@dataclass(frozen=True, kw_only=True)
class ReleaseArgs:
    """What has to serve and where, in the words of `codedeploy.Wanted`."""

    region: str
    application: Input[str]
    group: Input[str]
    cluster_arn: Input[str]
    service: Input[str]
    task_definition_arn: Input[str]
    container: str
    port: int
    subnets: Sequence[Input[str]]
    security_group: Input[str]
    public_ip: bool
    platform: str
    limit_minutes: int


class Releases(dynamic.ResourceProvider):
    """Brings the service to the wanted revision whenever that changes. Deleting a release does nothing.

    Pulumi keeps this object in the stack's state and wakes it in a process of its own, so it holds nothing, and what
    it needs of AWS it imports there.
    """

    # There is no secret in it, and Pulumi would hide each change of one.
    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.DiffResult:
        """Says that there is something to do where anything that was asked for is another."""
        return dynamic.DiffResult(changes=_asked(_olds) != _asked(_news))

    def create(self, props: dict[str, Any]) -> dynamic.CreateResult:
        """Releases, unless the service was just made with the revision."""
        wanted, outputs = _release(props)
        return dynamic.CreateResult(wanted.place, outputs)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> dynamic.UpdateResult:
        """Releases; after an error Pulumi keeps the old inputs, so the next run tries again."""
        return dynamic.UpdateResult(_release(_news)[1])


class Release(dynamic.Resource, module="smtp-proxy", name="Release"):
    """Declares that a revision serves: `pulumi up` ends once it does, or fails and says why (ECS-005)."""

    deployment_id: Output[str]
    """Empty where the revision was in place already."""

    def __init__(self, name: str, args: ReleaseArgs, opts: ResourceOptions | None = None) -> None:
        asked = {field.name: getattr(args, field.name) for field in fields(args)}
        super().__init__(Releases(), name, {**asked, _ANSWERED: None}, opts)


def _asked(props: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in props.items() if key not in {PROVIDER_KEY, _ANSWERED}}


def _release(props: dict[str, Any]) -> tuple[Wanted, dict[str, Any]]:
    import boto3  # noqa: PLC0415 - where Pulumi wakes the provider, not where the program declares
    from botocore.config import Config  # noqa: PLC0415 - as above

    asked = _asked(props)
    session: Any = cast("Any", boto3).session.Session(region_name=asked.pop("region"))
    # Numbers travel as floats on Pulumi's wire.
    numbers: dict[str, Any] = {key: int(asked[key]) for key in ("port", "limit_minutes")}
    wanted = Wanted(**asked | numbers)
    config = Config(retries={"mode": "standard", "max_attempts": 10})
    rollout = Rollout(
        wanted=wanted,
        codedeploy=session.client("codedeploy", config=config),
        ecs=session.client("ecs", config=config),
        clock=Steady(),
    )
    return wanted, {**_asked(props), _ANSWERED: rollout.run()}
