import pytest

from infra.graph import Graph
from tests.infra import contract
from tests.infra.programs import declare

BODY = """
from infra.cluster import Cluster, ClusterArgs
cluster = Cluster(settings.prefix, ClusterArgs(insights=True, exec=False, log_days=30), opts)
open_cluster = Cluster("open", ClusterArgs(insights=False, exec=True, log_days=7, key_arn="arn:key"), opts)
Cluster("keyless", ClusterArgs(insights=False, exec=True, log_days=7), opts)
pulumi.export("arn", cluster.arn)
pulumi.export("name", cluster.name)
"""
CLUSTER = "aws:ecs/cluster:Cluster"


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("cluster") / "stack", BODY)


def test_insights_are_counted_where_they_are_asked_for(graph: Graph) -> None:
    assert graph.one(CLUSTER, "smtp-proxy-prod").inputs == {
        "settings": [{"name": "containerInsights", "value": "enabled"}]
    }
    assert graph.one(CLUSTER, "open").inputs["settings"] == [{"name": "containerInsights", "value": "disabled"}]


@pytest.mark.requirement("ECS-011")
def test_all_capacity_is_fargate(graph: Graph) -> None:
    for node in graph.of_type("aws:ecs/clusterCapacityProviders:ClusterCapacityProviders"):
        assert node.inputs == {
            "clusterName": f"${{{node.name}.name}}",
            "capacityProviders": ["FARGATE", "FARGATE_SPOT"],
            "defaultCapacityProviderStrategies": [{"capacityProvider": "FARGATE", "base": 1, "weight": 1}],
        }


@pytest.mark.requirement("ECS-014")
def test_shells_are_encrypted_and_kept(graph: Graph) -> None:
    assert graph.one(CLUSTER, "open").inputs["configuration"] == {
        "executeCommandConfiguration": {
            "kmsKeyId": "arn:key",
            "logging": "OVERRIDE",
            "logConfiguration": {"cloudWatchLogGroupName": "/ecs/open-exec", "cloudWatchEncryptionEnabled": True},
        }
    }
    assert graph.one("aws:cloudwatch/logGroup:LogGroup", "open-exec").inputs == {
        "name": "/ecs/open-exec",
        "retentionInDays": 7,
        "kmsKeyId": "arn:key",
    }
    assert graph.one(CLUSTER, "keyless").inputs["configuration"] == {
        "executeCommandConfiguration": {
            "logging": "OVERRIDE",
            "logConfiguration": {"cloudWatchLogGroupName": "/ecs/keyless-exec", "cloudWatchEncryptionEnabled": False},
        }
    }


def test_outputs_and_contract(graph: Graph) -> None:
    assert graph.exports == {
        "arn": "arn:aws:ecs:${region}:${account}:${smtp-proxy-prod.arn}",
        "name": "${smtp-proxy-prod.name}",
    }
    assert [problem for check in contract.ALL for problem in check(graph)] == []
