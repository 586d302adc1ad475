import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import grpc
import pulumi
import pytest
from google.protobuf import empty_pb2, json_format, struct_pb2
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy import (
    EnforcementLevel,
    PolicyCustomTimeouts,
    PolicyResource,
    PolicyResourceOptions,
    ResourceValidationArgs,
    StackValidationArgs,
    StackValidationPolicy,
)
from pulumi_policy.proxy import UNKNOWN_STRING_VALUE, unknown_checking_proxy

from infra.graph import Graph, Node
from infra.policy.pack import policies
from infra.policy.rules import ALL
from infra.project import ROOT
from tests.infra.policy import mutations
from tests.infra.policy.mutations import Mutation

Props = Callable[[Node], dict[str, Any]]


@pytest.fixture(autouse=True)
def production() -> None:
    pulumi.runtime.configure(pulumi.runtime.Settings(project="smtp-proxy", stack="prod"))


def test_every_rule_is_a_policy() -> None:
    made = {policy.name: policy.enforcement_level for policy in policies()}
    advisory = {True: EnforcementLevel.ADVISORY, False: EnforcementLevel.MANDATORY}
    assert made == {rule.name: advisory[rule.severity == "low"] for rule in ALL}


def test_the_sample_is_silent(sample_prod: Graph) -> None:
    assert _violations(sample_prod, lambda node: dict(node.inputs)) == []


@pytest.mark.parametrize("mutation", mutations.ALL, ids=mutations.IDS)
def test_a_policy_reports_what_its_rule_finds(sample_prod: Graph, mutation: Mutation) -> None:
    weak = mutation.of(sample_prod)
    found = _violations(weak, lambda node: dict(node.inputs), mutation.rule)
    assert found != []
    assert {urn for _, urn in found} <= {node.urn for node in sample_prod.nodes}


def test_a_preview_that_knows_nothing_breaks_nothing(sample_prod: Graph) -> None:
    assert _violations(sample_prod, lambda node: dict.fromkeys(node.inputs, UNKNOWN_STRING_VALUE)) == []


def test_a_preview_that_knows_no_answers_breaks_nothing(sample_prod: Graph) -> None:
    assert _violations(sample_prod, lambda node: {key: _unknown(value) for key, value in node.inputs.items()}) == []


def test_a_preview_finds_what_it_knows(sample_prod: Graph) -> None:
    (mutation,) = [one for one in mutations.ALL if one.rule == "key-rotates"]
    weak = mutation.of(sample_prod)
    found = _violations(weak, lambda node: {key: _unknown(value) for key, value in node.inputs.items()})
    assert [name for name, _ in found] == ["key-rotates"]


def _unknown(value: Any) -> Any:
    """Whatever AWS would have to answer first is not known in a preview."""
    if isinstance(value, str):
        return UNKNOWN_STRING_VALUE if "${" in value else value
    if isinstance(value, list):
        return [_unknown(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _unknown(item) for key, item in cast("dict[str, Any]", value).items()}
    return value


def _violations(graph: Graph, props: Props, only: str = "") -> list[tuple[str, str | None]]:
    found: list[tuple[str, str | None]] = []
    nodes = [node for node in graph.nodes if not node.is_component]
    resources = _resources(nodes, props)
    for policy in (one for one in policies() if one.name.startswith(only)):

        def report(_message: str, urn: str | None = None, name: str = policy.name) -> None:
            found.append((name, urn))

        if isinstance(policy, StackValidationPolicy):
            cast("Any", policy).validate(StackValidationArgs(resources), report)
        else:
            for resource in resources:
                cast("Any", policy).validate(_arguments(resource), report)
    return found


def _arguments(one: PolicyResource) -> ResourceValidationArgs:
    return ResourceValidationArgs(one.resource_type, one.props, one.urn, one.name, one.opts, None)


def _resources(nodes: list[Node], props: Props) -> list[PolicyResource]:
    made = {
        node.urn: PolicyResource(
            node.type,
            cast("Mapping[str, Any]", unknown_checking_proxy(props(node))),
            node.urn,
            node.name,
            _options(node),
            None,
            None,
            [],
            {},
        )
        for node in nodes
    }
    for node in nodes:
        made[node.urn].property_dependencies = {
            key: [made[urn] for urn in urns if urn in made] for key, urns in node.references.items()
        }
    return list(made.values())


def _options(node: Node) -> PolicyResourceOptions:
    return PolicyResourceOptions(node.protect, [], False, [], PolicyCustomTimeouts(0, 0, 0), [], node.parent)


@pytest.fixture
def analyzer() -> Iterator[Any]:
    """The pack as Pulumi's CLI runs it: a program that prints the port it answers on."""
    command = [sys.executable, "-u", "-m", "pulumi.policy", "127.0.0.1:0", "infra/policy"]
    environment = {
        "PATH": "",
        "PULUMI_PROJECT": "smtp-proxy",
        "PULUMI_STACK": "prod",
        "PULUMI_DRY_RUN": "true",
    }
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            with grpc.insecure_channel(f"127.0.0.1:{int(process.stdout.readline())}") as channel:
                yield cast("Any", analyzer_pb2_grpc).AnalyzerStub(channel)
        finally:
            process.terminate()


def test_pulumi_can_run_the_pack(analyzer: Any) -> None:
    info = analyzer.GetAnalyzerInfo(empty_pb2.Empty())
    assert (info.name, {policy.name for policy in info.policies}) == ("smtp-proxy", {rule.name for rule in ALL})
    properties = json_format.ParseDict({"enableKeyRotation": False}, struct_pb2.Struct())
    request = analyzer_pb2.AnalyzeRequest(
        type="aws:kms/key:Key",
        properties=properties,
        urn="urn:pulumi:prod::smtp-proxy::aws:kms/key:Key::a",
        name="a",
        options=analyzer_pb2.AnalyzerResourceOptions(protect=True),
    )
    answer = analyzer.Analyze(request)
    assert [(one.policyName, one.message) for one in answer.diagnostics] == [
        ("key-rotates", "The key never rotates.\na: the key never rotates. Set enable_key_rotation=True.")
    ]
