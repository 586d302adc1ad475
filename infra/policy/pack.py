"""The rules as policies of Pulumi, for `pulumi preview --policy-pack infra/policy`."""

from collections.abc import Mapping
from typing import Any, Final, cast

import pulumi
from pulumi_policy import (
    EnforcementLevel,
    Policy,
    PolicyPack,
    PolicyResource,
    ReportViolation,
    ResourceValidationArgs,
    ResourceValidationPolicy,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UnknownValueError

from infra.policy.acceptance import acceptance
from infra.policy.model import UNKNOWN, Resource, Rule, World
from infra.policy.rules import ALL
from infra.values import is_list, mapping

NAME: Final = "smtp-proxy"


def serve() -> None:
    """Starts the pack; Pulumi ends it."""
    PolicyPack(name=NAME, policies=policies())


def policies() -> list[Policy]:
    """Returns a policy for each rule: of one resource where the rule looks at no other, else of the stack."""
    return [_of_stack(rule) if rule.whole else _of_resource(rule) for rule in ALL]


def _of_resource(rule: Rule) -> ResourceValidationPolicy:
    def validate(args: ResourceValidationArgs, report: ReportViolation) -> None:
        resource = Resource(
            type=args.resource_type,
            name=args.name,
            urn=args.urn,
            protect=args.opts.protect,
            props=known(args.props),
            references={},
        )
        _report(rule, resource, World(pulumi.get_stack(), (resource,)), report)

    return ResourceValidationPolicy(
        name=rule.name, description=_described(rule), validate=validate, enforcement_level=_level(rule)
    )


def _of_stack(rule: Rule) -> StackValidationPolicy:
    def validate(args: StackValidationArgs, report: ReportViolation) -> None:
        world = World(pulumi.get_stack(), tuple(map(_resource, args.resources)))
        for resource in world.resources:
            _report(rule, resource, world, report)

    return StackValidationPolicy(
        name=rule.name, description=_described(rule), validate=validate, enforcement_level=_level(rule)
    )


def _resource(found: PolicyResource) -> Resource:
    return Resource(
        type=found.resource_type,
        name=found.name,
        urn=found.urn,
        protect=found.opts.protect,
        props=known(found.props),
        references={
            key: frozenset(target.urn for target in targets) for key, targets in found.property_dependencies.items()
        },
    )


def _report(rule: Rule, resource: Resource, world: World, report: ReportViolation) -> None:
    for finding in rule.findings(resource, world):
        if acceptance(finding) is None:
            report(f"{finding.name}: {finding.message}. {finding.remedy}", finding.urn)


def _described(rule: Rule) -> str:
    return f"{rule.message[0].upper()}{rule.message[1:]}."


def _level(rule: Rule) -> EnforcementLevel:
    return EnforcementLevel.ADVISORY if rule.severity == "low" else EnforcementLevel.MANDATORY


def known(value: Any) -> Any:
    """Returns plain values, with UNKNOWN where a preview knows none; Pulumi's own raise when such a one is touched."""
    if isinstance(value, Mapping):
        found = mapping(cast("object", value))
        return {key: _item(found, key) for key in found}
    return [_item(value, number) for number in range(len(value))] if is_list(value) else value


def _item(values: Any, key: Any) -> Any:
    try:
        return known(values[key])
    except UnknownValueError:
        return UNKNOWN
