from dataclasses import replace
from pathlib import Path

import pytest

from infra.graph import Graph
from infra.policy.acceptance import ACCEPTED, Acceptance
from infra.policy.model import Finding
from infra.policy.rules import ALL
from infra.policy.run import findings, report
from tests.infra.policy import mutations
from tests.infra.policy.mutations import Mutation
from tests.infra.samples import sample

VARIANTS: list[tuple[str, dict[str, object]]] = [
    ("prod", {}),
    ("dev", {}),
    ("prod", {"egress": "nat-regional", "databaseReplica": True, "waf": True}),
    ("prod", {"egress": "public-ip", "cacheMode": "serverless", "spotWorkers": True}),
]


@pytest.mark.requirement("QG-5")
def test_the_stacks_break_no_rule(stack: Graph) -> None:
    assert findings(stack) == ()


@pytest.mark.parametrize(("name", "changes"), VARIANTS)
def test_the_sample_breaks_no_rule(tmp_path: Path, name: str, changes: dict[str, object]) -> None:
    assert findings(sample(tmp_path, name, changes)) == ()


@pytest.mark.requirement("QG-5")
@pytest.mark.parametrize("mutation", mutations.ALL, ids=mutations.IDS)
def test_a_weakness_is_found(sample_prod: Graph, mutation: Mutation) -> None:
    assert mutation.rule in {finding.rule for finding in findings(mutation.of(sample_prod))}


def test_tasks_that_the_internet_reaches_past_the_balancer(sample_prod: Graph) -> None:
    assert [(finding.rule, finding.message) for finding in findings(mutations.direct(sample_prod))] == [
        (
            "service-not-direct",
            (
                "tasks have public addresses and let the internet in past the load balancer: "
                "smtp-proxy-prod-firewall-relay lets 0.0.0.0/0 in"
            ),
        )
    ]


def test_every_rule_is_proven_to_fire() -> None:
    assert {mutation.rule for mutation in mutations.ALL} | {"service-not-direct"} == {rule.name for rule in ALL}
    assert len({rule.name for rule in ALL}) == len(ALL)


def test_a_finding_says_what_where_and_what_to_do(sample_prod: Graph) -> None:
    (mutation,) = [one for one in mutations.ALL if one.rule == "iam-resource-wildcard"]
    assert findings(mutation.of(sample_prod)) == (
        Finding(
            rule="iam-resource-wildcard",
            severity="high",
            urn=sample_prod.one("aws:iam/rolePolicy:RolePolicy", "smtp-proxy-prod-relay").urn,
            name="smtp-proxy-prod-relay",
            message="an action that can name its resource is allowed on every one: sqs:SendMessage",
            remedy="Name the ARN; only actions that have no resource may have *.",
        ),
    )


@pytest.mark.parametrize("stack_name", ["dev", "prod"])
def test_what_is_of_production_only_may_be_otherwise_elsewhere(sample_prod: Graph, stack_name: str) -> None:
    of_production = {rule.name for rule in ALL if rule.production}
    broken = [replace(one.of(sample_prod), stack=stack_name) for one in mutations.ALL if one.rule in of_production]
    found = {finding.rule for graph in broken for finding in findings(graph)} & of_production
    assert found == (of_production if stack_name == "prod" else set())


@pytest.mark.parametrize(
    ("acceptance", "accepted"),
    [
        (Acceptance(rule="key-rotates", name="*-mail", reason="why not"), True),
        (Acceptance(rule="key-rotates", name="*-other", reason="why not"), False),
        (Acceptance(rule="key-deletion-days", name="*", reason="why not"), False),
    ],
)
def test_a_finding_can_be_meant(sample_prod: Graph, acceptance: Acceptance, accepted: bool) -> None:  # noqa: FBT001
    (mutation,) = [one for one in mutations.ALL if one.rule == "key-rotates"]
    found = report(mutation.of(sample_prod), [acceptance])
    assert len(found.findings) == (0 if accepted else 1)
    assert [one.reason for one in found.accepted] == (["why not"] if accepted else [])


def test_a_grave_finding_cannot_be_meant(sample_prod: Graph) -> None:
    mutation = next(one for one in mutations.ALL if one.rule == "queue-encrypted")
    found = report(mutation.of(sample_prod), [Acceptance(rule="queue-encrypted", name="*", reason="no")])
    assert [finding.rule for finding in found.findings] == ["queue-encrypted"]


def test_what_is_accepted_names_a_rule_and_has_a_reason() -> None:
    mild = {rule.name for rule in ALL if rule.severity != "high"}
    assert [one for one in ACCEPTED if one.rule not in mild or len(one.reason) < 20] == []
