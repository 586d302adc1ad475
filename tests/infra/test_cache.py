import pytest

from infra.graph import Graph
from infra.names import exact
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-cache"
BODY = """
from infra.cache import Cache, CacheArgs
from infra.cache_users import access_strings
made = Cache(
    "smtp-proxy-prod-cache",
    CacheArgs(
        settings=settings.cache,
        subnet_ids=["subnet-1", "subnet-2"],
        security_group_ids=["sg-1"],
        users=access_strings(),
        protect=settings.protect,
        log_days=30,
        key_arn="arn:aws:kms:us-east-1:1:key/data",
        log_key_arn="arn:aws:kms:us-east-1:1:key/logs",
    ),
    opts,
)
for key in ("address", "name", "is_cluster", "arn", "user_arns", "user_names"):
    pulumi.export(key, getattr(made, key))
"""
USERS = {service: f"{NAME}-{service}" for service in ("relay", "worker", "web")}
USER_ARNS = {
    service: f"arn:aws:elasticache:${{region}}:${{account}}:${{{user}.arn}}" for service, user in USERS.items()
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    changes = {"cacheMode": "cluster", "cacheNodeType": "cache.t4g.small", "cacheReplicas": 2}
    return declare(tmp_path_factory.mktemp("cluster"), BODY, changes)


@pytest.fixture(scope="module")
def serverless(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("serverless"), BODY, {"cacheMode": "serverless"})


@pytest.fixture(params=["cluster", "serverless"])
def graph(request: pytest.FixtureRequest) -> Graph:
    found: Graph = request.getfixturevalue(request.param)
    return found


def test_the_contract(graph: Graph) -> None:
    assert [problem for check in contract.ALL for problem in check(graph)] == []


@pytest.mark.requirement("QG-5")
@pytest.mark.requirement("SC-7.1")
def test_the_cluster(cluster: Graph) -> None:
    (group,) = cluster.of_type("aws:elasticache/replicationGroup:ReplicationGroup")
    assert {key: value for key, value in group.inputs.items() if key != "description"} == {
        "engine": "valkey",
        "engineVersion": "8.2",
        "autoMinorVersionUpgrade": True,
        "nodeType": "cache.t4g.small",
        "clusterMode": "enabled",
        "numNodeGroups": 1,
        "replicasPerNodeGroup": 2,
        "multiAzEnabled": True,
        "automaticFailoverEnabled": True,
        "port": 6379,
        "parameterGroupName": f"${{{NAME}.name}}",
        "subnetGroupName": f"${{{NAME}.name}}",
        "securityGroupIds": ["sg-1"],
        "transitEncryptionEnabled": True,
        "transitEncryptionMode": "required",
        "atRestEncryptionEnabled": True,
        "kmsKeyId": "arn:aws:kms:us-east-1:1:key/data",
        "userGroupIds": [NAME],
        "snapshotRetentionLimit": 0,
        "maintenanceWindow": "sun:05:30-sun:06:30",
        "applyImmediately": False,
        "logDeliveryConfigurations": [
            {
                "destination": f"${{{NAME}.name}}",
                "destinationType": "cloudwatch-logs",
                "logFormat": "json",
                "logType": "slow-log",
            }
        ],
    }
    (log,) = cluster.of_type("aws:cloudwatch/logGroup:LogGroup")
    assert log.inputs == {"retentionInDays": 30, "kmsKeyId": "arn:aws:kms:us-east-1:1:key/logs"}
    (parameters,) = cluster.of_type("aws:elasticache/parameterGroup:ParameterGroup")
    assert parameters.inputs["family"] == "valkey8"
    assert parameters.inputs["parameters"] == [{"name": "cluster-enabled", "value": "yes"}]
    (subnets,) = cluster.of_type("aws:elasticache/subnetGroup:SubnetGroup")
    assert subnets.inputs["subnetIds"] == ["subnet-1", "subnet-2"]
    assert cluster.exports == {
        "address": f"${{{NAME}.configuration_endpoint_address}}",
        "name": f"${{{NAME}.replication_group_id}}",
        "is_cluster": True,
        "arn": f"arn:aws:elasticache:${{region}}:${{account}}:${{{NAME}.arn}}",
        "user_arns": USER_ARNS,
        "user_names": USERS,
    }


def test_the_serverless_cache(serverless: Graph) -> None:
    (cache,) = serverless.of_type("aws:elasticache/serverlessCache:ServerlessCache")
    assert {key: value for key, value in cache.inputs.items() if key != "description"} == {
        "engine": "valkey",
        "majorEngineVersion": "8",
        "cacheUsageLimits": {
            "dataStorage": {"maximum": 1, "unit": "GB"},
            "ecpuPerSeconds": [{"maximum": 5_000}],
        },
        "subnetIds": ["subnet-1", "subnet-2"],
        "securityGroupIds": ["sg-1"],
        "kmsKeyId": "arn:aws:kms:us-east-1:1:key/data",
        "userGroupId": NAME,
        "snapshotRetentionLimit": 0,
    }
    assert serverless.exports == {
        "address": f"${{{NAME}.address}}",
        "name": f"${{{NAME}.name}}",
        "is_cluster": True,
        "arn": f"arn:aws:elasticache:${{region}}:${{account}}:${{{NAME}.arn}}",
        "user_arns": USER_ARNS,
        "user_names": USERS,
    }


@pytest.mark.requirement("QG-5")
def test_each_service_signs_in_as_a_user_of_its_own_and_nobody_without_iam(graph: Graph) -> None:
    users = graph.of_type("aws:elasticache/user:User")
    assert {(node.inputs["userId"], node.inputs["userName"]) for node in users} == {
        (user, user) for user in USERS.values()
    }
    assert [(node.inputs["engine"], node.inputs["authenticationMode"]) for node in users] == [
        ("valkey", {"type": "iam"})
    ] * 3
    (group,) = graph.of_type("aws:elasticache/userGroup:UserGroup")
    assert group.inputs == {
        "userGroupId": NAME,
        "engine": "valkey",
        "userIds": list(USERS.values()),
    }


def test_a_user_reaches_only_what_the_product_keeps(graph: Graph) -> None:
    access = graph.one("aws:elasticache/user:User", f"{NAME}-worker").inputs["accessString"]
    assert access.startswith("on ~smtp-proxy:* &smtp-proxy:* -@all +")


def test_names_that_are_given_are_cut_without_room_for_a_suffix() -> None:
    assert exact("a" * 40, 40) == "a" * 40
    assert len(exact("a" * 41, 40)) == 40
