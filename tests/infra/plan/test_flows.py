from dataclasses import replace

import pytest

from infra.graph import Graph
from infra.plan.flows import EGRESS, INGRESS, flows


def test_a_flow_that_only_one_end_allows_is_closed(sample_prod: Graph) -> None:
    name = "smtp-proxy-prod-relay-database-5432"
    for kind, note in ((EGRESS, "the source may not leave"), (INGRESS, "the target does not let in")):
        half = sample_prod.one(kind, name)
        nodes = tuple(node for node in sample_prod.nodes if node is not half)
        noted = [flow for flow in flows(replace(sample_prod, nodes=nodes)) if flow.note]
        assert [(flow.source, flow.target, flow.ports, flow.note) for flow in noted] == [
            ("smtp-proxy-prod-firewall-relay", "smtp-proxy-prod-firewall-database", "tcp 5432", note)
        ]


def test_all_flows_of_the_sample_are_open(sample_prod: Graph) -> None:
    assert [flow for flow in flows(sample_prod) if flow.note] == []


@pytest.mark.requirement("SC-7.3")
def test_all_flows_of_the_real_stacks_are_open(stack: Graph) -> None:
    found = flows(stack)
    assert len(found) > 20
    assert [flow for flow in found if flow.note] == []
