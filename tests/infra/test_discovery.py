import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.discovery import Discovery, DiscoveryArgs
found = Discovery("prod", DiscoveryArgs(
    vpc_id="vpc", domain="prod.smtp-proxy.internal", services=["relay", "worker"]), opts)
pulumi.export("registries", dict(found.registry_arns))
pulumi.export("namespace", Output.all(found.namespace_id, found.namespace_arn))
"""


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("discovery") / "stack", BODY)


def test_the_names_are_private(graph: Graph) -> None:
    (namespace,) = graph.of_type("aws:servicediscovery/privateDnsNamespace:PrivateDnsNamespace")
    assert namespace.inputs == {"name": "prod.smtp-proxy.internal", "vpc": "vpc"}
    assert graph.one("aws:servicediscovery/service:Service", "prod-relay").inputs == {
        "name": "relay",
        "dnsConfig": {
            "namespaceId": "${prod.id}",
            "routingPolicy": "MULTIVALUE",
            "dnsRecords": [{"type": "A", "ttl": 10}],
        },
        "forceDestroy": True,
    }


def test_outputs_and_contract(graph: Graph) -> None:
    service = "arn:aws:servicediscovery:${region}:${account}:"
    assert graph.exports == {
        "registries": {name: f"{service}${{prod-{name}.arn}}" for name in ("relay", "worker")},
        "namespace": ["${prod.id}", f"{service}${{prod.arn}}"],
    }
    assert [problem for check in contract.ALL for problem in check(graph)] == []
