import json

import pytest

from infra.graph import Graph
from tests.infra.wiring import arn, prefix, subnets, token

QUEUE = "aws:sqs/queue:Queue"
APPS = ("app-orders", "app-support", "app-default")
OURS = ("delivery", "events", "outbound")
QUEUES = {"dev": OURS, "prod": (*OURS, "inbound", *APPS)}
FORTNIGHT = 14 * 86_400


def test_the_database_is_in_isolated_subnets_and_its_own_group(stack: Graph) -> None:
    name = f"{prefix(stack)}-database"
    database = stack.one("aws:rds/instance:Instance", name)
    data, secrets = arn(stack, "kms", "data"), arn(stack, "kms", "secrets")
    wired = {
        "dbSubnetGroupName": token(stack, "database", "name"),
        "vpcSecurityGroupIds": [token(stack, "database")],
        "parameterGroupName": token(stack, "database", "name"),
        "publiclyAccessible": False,
        "storageEncrypted": True,
        "kmsKeyId": data,
        "performanceInsightsKmsKeyId": data,
        "manageMasterUserPassword": True,
        "masterUserSecretKmsKeyId": secrets,
        "iamDatabaseAuthenticationEnabled": True,
        "backupRetentionPeriod": {"dev": 1, "prod": 7}[stack.stack],
        "multiAz": stack.stack == "prod",
    }
    assert {key: database.inputs[key] for key in wired} == wired
    assert stack.one("aws:rds/subnetGroup:SubnetGroup", name).inputs["subnetIds"] == subnets(stack, "isolated")
    # A database in a group without its subnets could not be told from one that has them: both names are one token.
    assert [urn.rpartition("::")[0].rpartition("$")[2] for urn in database.references["dbSubnetGroupName"]] == [
        "aws:rds/subnetGroup:SubnetGroup"
    ]


def test_the_cache_is_in_isolated_subnets_and_its_own_group(stack: Graph) -> None:
    name = f"{prefix(stack)}-cache"
    users = [f"{name}-{user}" for user in ("relay", "worker", "web")]
    group = stack.one("aws:elasticache/userGroup:UserGroup", name)
    assert group.inputs == {"engine": "valkey", "userGroupId": name, "userIds": users}
    wired = {
        "securityGroupIds": [token(stack, "cache")],
        "kmsKeyId": arn(stack, "kms", "data"),
        "engine": "valkey",
        "snapshotRetentionLimit": 0,
    }
    if stack.stack == "dev":
        cache = stack.one("aws:elasticache/serverlessCache:ServerlessCache", name)
        wired |= {"subnetIds": subnets(stack, "isolated"), "userGroupId": name}
    else:
        cache = stack.one("aws:elasticache/replicationGroup:ReplicationGroup", name)
        wired |= {
            "subnetGroupName": token(stack, "cache", "name"),
            "userGroupIds": [name],
            "transitEncryptionEnabled": True,
            "transitEncryptionMode": "required",
            "atRestEncryptionEnabled": True,
        }
    assert {key: cache.inputs[key] for key in wired} == wired


@pytest.mark.requirement("FLOW-INFRA-001")
def test_every_bucket_and_how_long_it_keeps_what(stack: Graph) -> None:
    keyed = stack.stack == "prod"
    uploads = {"id": "abandoned-uploads", "status": "Enabled", "filter": {"prefix": ""}}
    uploads |= {"abortIncompleteMultipartUpload": {"daysAfterInitiation": 1}}

    def expires(prefix: str, days: int) -> dict[str, object]:
        name = f"expire-{prefix}".rstrip("-/")
        return {"id": name, "status": "Enabled", "filter": {"prefix": prefix}, "expiration": {"days": days}}

    old = {"id": "old-versions", "status": "Enabled", "filter": {"prefix": ""}}
    old |= {"noncurrentVersionExpiration": {"noncurrentDays": 90}}
    bodies, logs = {"dev": (15, 7), "prod": (30, 30)}[stack.stack]
    lifecycles = stack.of_type("aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration")
    assert {node.inputs["bucket"]: node.inputs["rules"] for node in lifecycles} == {
        token(stack, "mail", "bucket"): [
            expires("bodies/", bodies),
            expires("raw/", 7),
            expires("attachments/", 30),
            uploads,
        ],
        token(stack, "backups", "bucket"): [old, uploads],
        token(stack, "access", "bucket"): [expires("", logs), uploads],
    }
    own = {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": arn(stack, "kms", "data")}
    s3s = {"applyServerSideEncryptionByDefault": {"sseAlgorithm": "AES256"}, "bucketKeyEnabled": False}
    ours = {"applyServerSideEncryptionByDefault": own, "bucketKeyEnabled": True} if keyed else s3s
    encryptions = stack.of_type(
        "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
    )
    assert {node.inputs["bucket"]: node.inputs["rules"] for node in encryptions} == {
        token(stack, "mail", "bucket"): [ours],
        token(stack, "backups", "bucket"): [ours],
        # Load balancers write to no bucket with a key of the stack.
        token(stack, "access", "bucket"): [s3s],
    }
    (versions,) = stack.of_type("aws:s3/bucketVersioning:BucketVersioning")
    assert versions.inputs["bucket"] == token(stack, "backups", "bucket")


@pytest.mark.requirement("FLOW-INFRA-002")
def test_every_queue_has_dead_letters_visibility_and_retention(stack: Graph) -> None:
    sealed = {"kmsMasterKeyId": arn(stack, "kms", "data")} if stack.stack == "prod" else {"sqsManagedSseEnabled": True}
    found = {node.name.removeprefix(f"{prefix(stack)}-"): dict(node.inputs) for node in stack.of_type(QUEUE)}
    assert sorted(found) == sorted(name for queue in QUEUES[stack.stack] for name in (queue, f"{queue}-dead"))
    for queue in QUEUES[stack.stack]:
        held = {
            "visibilityTimeoutSeconds": 120 if queue == "delivery" else 60,
            "messageRetentionSeconds": FORTNIGHT,
            "maxMessageSize": 1_048_576,
            "receiveWaitTimeSeconds": 20,
            **sealed,
        }
        assert found[f"{queue}-dead"] == held
        redrive = json.loads(found[queue].pop("redrivePolicy"))
        assert found[queue] == held
        assert redrive == {"deadLetterTargetArn": arn(stack, "sqs", f"{queue}-dead"), "maxReceiveCount": 5}
        allow = stack.one("aws:sqs/redriveAllowPolicy:RedriveAllowPolicy", f"{prefix(stack)}-{queue}")
        assert allow.inputs["queueUrl"] == token(stack, f"{queue}-dead", "url")
        assert json.loads(allow.inputs["redriveAllowPolicy"]) == {
            "redrivePermission": "byQueue",
            "sourceQueueArns": [arn(stack, "sqs", queue)],
        }


@pytest.mark.requirement("FLOW-INFRA-003")
def test_what_happened_once_is_remembered(stack: Graph) -> None:
    (table,) = stack.of_type("aws:dynamodb/table:Table")
    assert table.inputs == {
        "billingMode": "PAY_PER_REQUEST",
        "hashKey": "id",
        "attributes": [{"name": "id", "type": "S"}],
        "ttl": {"enabled": True, "attributeName": "expires"},
        "pointInTimeRecovery": {"enabled": True},
        "deletionProtectionEnabled": stack.stack == "prod",
        "serverSideEncryption": (
            {"enabled": True, "kmsKeyArn": arn(stack, "kms", "data")} if stack.stack == "prod" else {"enabled": False}
        ),
    }


@pytest.mark.requirement("ECS-004")
@pytest.mark.requirement("TLS-017")
def test_secrets_have_places_and_no_values(stack: Graph) -> None:
    names = ("acme-account", "certificate", "credential-key")
    secrets = stack.of_type("aws:secretsmanager/secret:Secret")
    assert {
        node.inputs["name"]: (node.inputs["kmsKeyId"], node.inputs["recoveryWindowInDays"]) for node in secrets
    } == {
        f"smtp-proxy/{stack.stack}/{name}": (arn(stack, "kms", "secrets"), {"dev": 0, "prod": 30}[stack.stack])
        for name in names
    }
    assert stack.of_type("aws:secretsmanager/secretVersion:SecretVersion") == []


@pytest.mark.requirement("FLOW-INFRA-004")
def test_mail_that_comes_in_goes_to_the_bucket_and_is_told_to_the_queue(prod: Graph) -> None:
    rules = "smtp-proxy-prod-inbound"
    assert prod.one("aws:ses/receiptRuleSet:ReceiptRuleSet", rules).inputs == {"ruleSetName": rules}
    assert prod.one("aws:ses/activeReceiptRuleSet:ActiveReceiptRuleSet", rules).inputs == {"ruleSetName": rules}
    (rule,) = prod.of_type("aws:ses/receiptRule:ReceiptRule")
    assert rule.inputs == {
        "name": "in-mail-example-com",
        "ruleSetName": rules,
        "recipients": ["in.mail.example.com"],
        "enabled": True,
        "scanEnabled": True,
        "tlsPolicy": "Optional",
        "s3Actions": [
            {
                "position": 1,
                "bucketName": token(prod, "mail", "bucket"),
                "objectKeyPrefix": "raw/",
                "iamRoleArn": arn(prod, "iam", "inbound"),
            }
        ],
    }
    (notification,) = prod.of_type("aws:s3/bucketNotification:BucketNotification")
    assert notification.inputs == {
        "bucket": token(prod, "mail", "bucket"),
        "queues": [{"queueArn": arn(prod, "sqs", "inbound"), "events": ["s3:ObjectCreated:*"], "filterPrefix": "raw/"}],
    }
    # S3 tries the queue when it is told of it, so that the queue has to let it in before.
    assert prod.one("aws:sqs/queuePolicy:QueuePolicy", rules).urn in notification.depends_on


@pytest.mark.requirement("FLOW-INFRA-004")
def test_domains_may_send_and_what_becomes_of_mail_is_told(stack: Graph) -> None:
    domain = {"dev": "dev.mail.example.com", "prod": "mail.example.com"}[stack.stack]
    (identity,) = stack.of_type("aws:sesv2/emailIdentity:EmailIdentity")
    assert identity.inputs == {
        "emailIdentity": domain,
        "configurationSetName": f"{prefix(stack)}-ses",
        "dkimSigningAttributes": {"nextSigningKeyLength": "RSA_2048_BIT"},
    }
    (goal,) = [
        node for node in stack.of_type("aws:cloudwatch/eventTarget:EventTarget") if node.name == f"{prefix(stack)}-ses"
    ]
    assert goal.inputs == {"rule": f"{prefix(stack)}-ses", "arn": arn(stack, "sqs", "events")}


def test_s3_is_never_asked_to_change_two_protections_at_once(stack: Graph) -> None:
    for name in ("mail", "backups", "access"):
        full = f"{prefix(stack)}-{name}"
        policy = stack.one("aws:s3/bucketPolicy:BucketPolicy", full)
        owner = stack.one("aws:s3/bucketOwnershipControls:BucketOwnershipControls", full)
        block = stack.one("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock", full)
        assert owner.urn in policy.depends_on
        assert block.urn in owner.depends_on
