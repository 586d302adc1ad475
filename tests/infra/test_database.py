from pathlib import Path
from typing import Any

import pytest

from infra.graph import HIDDEN, Graph
from tests.infra import contract
from tests.infra.programs import declare

NAME = "smtp-proxy-prod-database"
INSTANCE = "aws:rds/instance:Instance"
BODY = """
from infra.database import Database, DatabaseArgs
made = Database(
    "smtp-proxy-prod-database",
    DatabaseArgs(
        settings=settings.database,
        subnet_ids=["subnet-1", "subnet-2"],
        security_group_ids=["sg-1"],
        key_arn="arn:aws:kms:us-east-1:1:key/data",
        secret_key_arn="arn:aws:kms:us-east-1:1:key/secrets",
        secret_path="smtp-proxy/prod/database-master",
        secret_recovery_days=30,
        protect=settings.protect,
        log_days=30,
        log_key_arn="arn:aws:kms:us-east-1:1:key/logs",
    ),
    opts,
)
for key in ("address", "port", "identifier", "arn", "resource_id", "master_secret_arn", "replica_address"):
    pulumi.export(key, getattr(made, key))
"""
INSTANCE_INPUTS = {
    "identifier": NAME,
    "engine": "postgres",
    "engineVersion": "17",
    "autoMinorVersionUpgrade": True,
    "instanceClass": "db.t4g.medium",
    "allocatedStorage": 50,
    "maxAllocatedStorage": 200,
    "storageType": "gp3",
    "storageEncrypted": True,
    "kmsKeyId": "arn:aws:kms:us-east-1:1:key/data",
    "multiAz": True,
    "dbName": "smtp_proxy",
    "port": 5432,
    "username": "postgres_admin",
    "manageMasterUserPassword": True,
    "masterUserSecretKmsKeyId": "arn:aws:kms:us-east-1:1:key/secrets",
    "iamDatabaseAuthenticationEnabled": True,
    "dbSubnetGroupName": f"${{{NAME}.name}}",
    "vpcSecurityGroupIds": ["sg-1"],
    "publiclyAccessible": False,
    "caCertIdentifier": "rds-ca-rsa2048-g1",
    "parameterGroupName": f"${{{NAME}.name}}",
    "backupRetentionPeriod": 7,
    "backupWindow": "03:00-03:30",
    "maintenanceWindow": "sun:04:00-sun:05:00",
    "copyTagsToSnapshot": True,
    "deleteAutomatedBackups": False,
    "deletionProtection": True,
    "skipFinalSnapshot": False,
    "finalSnapshotIdentifier": f"{NAME}-final",
    "applyImmediately": False,
    "performanceInsightsEnabled": True,
    "performanceInsightsRetentionPeriod": 7,
    "performanceInsightsKmsKeyId": "arn:aws:kms:us-east-1:1:key/data",
    "enabledCloudwatchLogsExports": ["postgresql"],
}
SIZES = {
    "databaseClass": "db.t4g.medium",
    "databaseStorageGb": 50,
    "databaseMaxStorageGb": 200,
    "databaseMaxConnections": 400,
    "databaseBackupDays": 7,
    "databaseMultiZone": True,
}


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("database"), BODY, SIZES)


@pytest.fixture(scope="module")
def with_replica(tmp_path_factory: pytest.TempPathFactory, outputs_refuse_to_be_text: None) -> Graph:  # noqa: ARG001
    return declare(tmp_path_factory.mktemp("replica"), BODY, SIZES | {"databaseReplica": True})


def test_the_contract(database: Graph, with_replica: Graph) -> None:
    for graph in (database, with_replica):
        assert [problem for check in contract.ALL for problem in check(graph)] == []


@pytest.mark.requirement("QG-5")
@pytest.mark.requirement("SC-7.1")
def test_the_instance(database: Graph) -> None:
    assert database.one(INSTANCE, NAME).inputs == INSTANCE_INPUTS


def test_the_parameters(database: Graph) -> None:
    (group,) = database.of_type("aws:rds/parameterGroup:ParameterGroup")
    assert group.inputs["family"] == "postgres17"
    assert {(one["name"], one["value"], one["applyMethod"]) for one in group.inputs["parameters"]} == {
        ("max_connections", "400", "pending-reboot"),
        ("rds.force_ssl", "1", "immediate"),
        ("log_min_duration_statement", "500", "immediate"),
        ("idle_in_transaction_session_timeout", "30000", "immediate"),
    }


def test_its_log_ends_and_is_there_before_the_instance_would_make_one_without_end(database: Graph) -> None:
    (log,) = database.of_type("aws:cloudwatch/logGroup:LogGroup")
    assert log.inputs == {
        "name": f"/aws/rds/instance/{NAME}/postgresql",
        "retentionInDays": 30,
        "kmsKeyId": "arn:aws:kms:us-east-1:1:key/logs",
    }
    assert log.urn in database.one(INSTANCE, NAME).depends_on


def test_it_lives_in_the_subnets_it_was_given(database: Graph) -> None:
    (subnets,) = database.of_type("aws:rds/subnetGroup:SubnetGroup")
    assert subnets.inputs["subnetIds"] == ["subnet-1", "subnet-2"]


def test_outputs(database: Graph) -> None:
    assert database.exports == {
        "address": f"${{{NAME}.address}}",
        "port": 5432,
        "identifier": NAME,
        "arn": f"arn:aws:rds:${{region}}:${{account}}:${{{NAME}.arn}}",
        "resource_id": f"${{{NAME}.resource_id}}",
        "master_secret_arn": f"${{{NAME}.master_secret_arn}}",
        "replica_address": None,
    }


def test_a_replica_takes_the_place_of_the_managed_password(with_replica: Graph) -> None:
    inputs = dict(with_replica.one(INSTANCE, NAME).inputs)
    assert (inputs.pop("passwordWo"), inputs.pop("passwordWoVersion")) == (HIDDEN, 1)
    managed = ("manageMasterUserPassword", "masterUserSecretKmsKeyId")
    assert inputs == {key: value for key, value in INSTANCE_INPUTS.items() if key not in managed}

    (secret,) = with_replica.of_type("aws:secretsmanager/secret:Secret")
    assert secret.inputs["name"] == "smtp-proxy/prod/database-master"
    assert with_replica.of_type("aws:secretsmanager/secretVersion:SecretVersion") == []
    assert with_replica.exports["master_secret_arn"].endswith(f"${{{NAME}-master.arn}}")


def test_the_replica(with_replica: Graph) -> None:
    same = (
        *("instanceClass", "maxAllocatedStorage", "storageType", "storageEncrypted", "kmsKeyId", "vpcSecurityGroupIds"),
        *("autoMinorVersionUpgrade", "iamDatabaseAuthenticationEnabled", "publiclyAccessible", "caCertIdentifier"),
        *("parameterGroupName", "maintenanceWindow", "copyTagsToSnapshot", "deletionProtection", "applyImmediately"),
        *("performanceInsightsEnabled", "performanceInsightsRetentionPeriod", "performanceInsightsKmsKeyId"),
        "enabledCloudwatchLogsExports",
    )
    replica = with_replica.one(INSTANCE, f"{NAME}-replica")
    assert replica.inputs == {key: INSTANCE_INPUTS[key] for key in same} | {
        "identifier": f"{NAME}-replica",
        "replicateSourceDb": NAME,
        "skipFinalSnapshot": True,
    }
    assert with_replica.exports["replica_address"] == f"${{{NAME}-replica.address}}"
    assert with_replica.one("aws:cloudwatch/logGroup:LogGroup", f"{NAME}-replica").urn in replica.depends_on


def test_an_unprotected_database_can_be_thrown_away(tmp_path: Path) -> None:
    graph = declare(tmp_path, BODY, SIZES | {"protect": False}, "dev")
    inputs: dict[str, Any] = {**graph.one(INSTANCE, NAME).inputs}
    assert "finalSnapshotIdentifier" not in inputs
    keys = ("deletionProtection", "skipFinalSnapshot", "deleteAutomatedBackups", "applyImmediately")
    assert [inputs[key] for key in keys] == [False, True, True, True]
