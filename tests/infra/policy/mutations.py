"""How each rule is broken: at least one change of the sample for every rule."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from infra.graph import Graph, Node
from infra.policy import kinds

Change = Callable[[Node], Node | None]
EVERYBODY = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}
SERVICE = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}


@dataclass(frozen=True)
class Mutation:
    rule: str
    kind: str
    name: str
    """The end of the resource's name."""
    change: Change

    def of(self, graph: Graph) -> Graph:
        (weak,) = [node for node in graph.of_type(self.kind) if node.name.endswith(self.name)]
        changed = self.change(weak)
        nodes = [changed if node is weak else node for node in graph.nodes]
        return replace(graph, nodes=tuple(node for node in nodes if node is not None))


def sets(**inputs: Any) -> Change:
    return lambda node: replace(node, inputs={**node.inputs, **inputs})


def lacks(*keys: str) -> Change:
    return lambda node: replace(node, inputs={key: value for key, value in node.inputs.items() if key not in keys})


def gone(_node: Node) -> None:
    return None


def unlinks(key: str) -> Change:
    return lambda node: replace(node, references={k: urns for k, urns in node.references.items() if k != key})


def becomes(kind: str) -> Change:
    return lambda node: replace(node, type=kind)


def unprotected(node: Node) -> Node:
    return replace(node, protect=False)


def container(**changes: Any) -> Change:
    def change(node: Node) -> Node:
        made = [{**one, **changes} for one in json.loads(node.inputs["containerDefinitions"])]
        return replace(node, inputs={**node.inputs, "containerDefinitions": json.dumps(made)})

    return change


def says(*statements: Mapping[str, Any], key: str = "policy") -> Change:
    return sets(**{key: json.dumps({"Version": "2012-10-17", "Statement": list(statements)})})


def variable(name: str, value: str) -> Change:
    return container(environment=[{"name": name, "value": value}])


def allows(action: str, resource: str, **more: Any) -> Change:
    return says({"Effect": "Allow", "Action": action, "Resource": resource, **more})


def _doc(statement: Mapping[str, Any]) -> Change:
    return says(statement, key="assumeRolePolicy")


KMS = {"rules": [{"applyServerSideEncryptionByDefault": {"sseAlgorithm": "aws:kms", "kmsMasterKeyId": "k"}}]}
OBJECTS = {
    "Effect": "Deny",
    "Principal": "*",
    "Action": "s3:*",
    "Resource": ["arn:aws:s3:::${smtp-proxy-prod-bodies.arn}"],
    "Condition": {"Bool": {"aws:SecureTransport": "false"}},
}
OPEN = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
ANYONE = {"Effect": "Allow", "Principal": {"Service": "ecs-tasks.amazonaws.com"}, "Action": "sts:AssumeRole"}
OTHER = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:user/x"}, "Action": "kms:Decrypt"}
GRANTS = {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::${account}:root"}, "Action": ["kms:CreateGrant"]}
LOGS = {"Effect": "Allow", "Principal": {"Service": "logs.us-east-1.amazonaws.com"}, "Action": ["kms:Decrypt"]}
FORWARD = [{"type": "forward", "targetGroupArn": "t"}]

M = Mutation
ALL = [
    M("bucket-encrypted", kinds.BUCKET_ENCRYPTION, "bodies", unlinks("bucket")),
    M("bucket-encrypted", kinds.BUCKET_ENCRYPTION, "bodies", sets(**KMS)),
    M("bucket-tls-only", kinds.BUCKET_POLICY, "bodies", says()),
    M("bucket-tls-only", kinds.BUCKET_POLICY, "bodies", says(OBJECTS)),
    M("queue-encrypted", kinds.QUEUE, "delivery", lacks("sqsManagedSseEnabled")),
    M("queue-encrypted", kinds.QUEUE, "delivery-dead", sets(sqsManagedSseEnabled=False)),
    M("queue-tls-only", kinds.QUEUE_POLICY, "delivery-dead", says()),
    M("topic-encrypted", kinds.TOPIC, "alarms", lacks("kmsMasterKeyId")),
    M("topic-encrypted", kinds.TOPIC, "alarms", sets(kmsMasterKeyId="alias/aws/sns")),
    M("topic-tls-only", kinds.TOPIC_POLICY, "alarms", says()),
    M("database-encrypted", kinds.DATABASE, "database", sets(storageEncrypted=False)),
    M("database-tls-only", kinds.PARAMETERS, "database", sets(parameters=[{"name": "rds.force_ssl", "value": "0"}])),
    M("database-tls-only", kinds.DATABASE, "database", unlinks("parameterGroupName")),
    M("cache-encrypted", kinds.CACHE, "cache", lacks("atRestEncryptionEnabled")),
    M("cache-tls-only", kinds.CACHE, "cache", sets(transitEncryptionEnabled=False)),
    M("cache-tls-only", kinds.CACHE, "cache", sets(transitEncryptionMode="preferred")),
    M("listener-tls", kinds.LISTENER, "-http", sets(defaultActions=FORWARD)),
    M("listener-tls", kinds.LISTENER, "-http", lacks("protocol")),
    M("listener-tls-policy", kinds.LISTENER, "-https", sets(sslPolicy="ELBSecurityPolicy-2016-08")),
    M("listener-tls-policy", kinds.LISTENER, "-https", lacks("sslPolicy")),
    M("targets-tls", kinds.TARGET_GROUP, "-api", sets(protocol="HTTP")),
    M("ses-tls", kinds.CONFIGURATION_SET, "mailing", sets(deliveryOptions={"tlsPolicy": "OPTIONAL"})),
    M("key-rotates", kinds.KEY, "mail", sets(enableKeyRotation=False)),
    M("group-open-port", kinds.INGRESS, "nlb-587", sets(fromPort=22.0, toPort=22.0)),
    M("group-open-port", kinds.INGRESS, "nlb-587", sets(fromPort=465.0, toPort=587.0)),
    M("group-open-port", kinds.INGRESS, "nlb-587", sets(ipProtocol="-1")),
    M("group-open-port", kinds.INGRESS, "relay-database-5432", sets(cidrIpv6="::/0")),
    M("group-inline-rules", kinds.GROUP, "relay", sets(egress=[{"protocol": "-1"}])),
    M("group-egress-everything", kinds.EGRESS, "relay-https", sets(ipProtocol="-1")),
    M("group-rule-described", kinds.EGRESS, "relay-https", lacks("description")),
    M("group-default-closed", kinds.DEFAULT_GROUP, "network", sets(ingress=[{"protocol": "-1"}])),
    M("group-default-closed", kinds.DEFAULT_GROUP, "network", gone),
    M("subnet-no-public-addresses", "aws:ec2/subnet:Subnet", "public-0", sets(mapPublicIpOnLaunch=True)),
    M("database-private", kinds.DATABASE, "database", sets(publiclyAccessible=True)),
    M("policy-public", kinds.QUEUE_POLICY, "delivery", says(EVERYBODY)),
    M("policy-public", kinds.BUCKET_POLICY, "bodies", says({**EVERYBODY, "Principal": {"AWS": "*"}})),
    M("bucket-closed", kinds.BUCKET_BLOCK, "bodies", sets(blockPublicAcls=False)),
    M("bucket-closed", kinds.BUCKET_BLOCK, "bodies", sets(restrictPublicBuckets=False)),
    M("bucket-without-acls", kinds.BUCKET_OWNERSHIP, "bodies", sets(rule={"objectOwnership": "ObjectWriter"})),
    M("balancer-drops-malformed", kinds.LOAD_BALANCER, "-alb", lacks("dropInvalidHeaderFields")),
    M("iam-action-wildcard", kinds.ROLE_POLICY, "prod-relay", allows("sqs:*", "arn:aws:sqs:::q")),
    M("iam-resource-wildcard", kinds.ROLE_POLICY, "prod-relay", allows("sqs:SendMessage", "*")),
    M(
        "iam-inverted",
        kinds.ROLE_POLICY,
        "prod-relay",
        says({"Effect": "Allow", "NotAction": "iam:*", "Resource": "r"}),
    ),
    M("iam-administers", kinds.ROLE_POLICY, "prod-relay", allows("iam:PutRolePolicy", "arn:aws:iam:::role/r")),
    M("iam-pass-role", kinds.ROLE_POLICY, "prod-relay", allows("iam:PassRole", "arn:aws:iam:::role/r")),
    M(
        "iam-pass-role",
        kinds.ROLE_POLICY,
        "prod-relay",
        allows("iam:PassRole", "*", Condition={"StringEquals": {"iam:PassedToService": "ecs-tasks.amazonaws.com"}}),
    ),
    M(
        "iam-managed-policy",
        kinds.POLICY_ATTACHMENT,
        "services",
        sets(policyArn="arn:aws:iam::aws:policy/AdministratorAccess"),
    ),
    M("iam-no-users", kinds.ROLE, "prod-relay", becomes(kinds.IAM_USERS[0])),
    M("iam-no-users", kinds.ROLE, "prod-relay", becomes(kinds.IAM_USERS[1])),
    M("trust-everybody", kinds.ROLE, "prod-relay", _doc(OPEN)),
    M("trust-confused-deputy", kinds.ROLE, "prod-relay", _doc(ANYONE)),
    M("policy-confused-deputy", kinds.QUEUE_POLICY, "delivery", says(SERVICE)),
    M("key-strangers", kinds.KEY_POLICY, "mail", says(OTHER)),
    M("key-strangers", kinds.KEY_POLICY, "mail", says(GRANTS)),
    M("policy-confused-deputy", kinds.KEY_POLICY, "mail", says(LOGS)),
    M("protected", kinds.BUCKET, "bodies", unprotected),
    M("protected", kinds.DATABASE, "database", unprotected),
    M("database-deletion-protection", kinds.DATABASE, "database", sets(deletionProtection=False)),
    M("database-deletion-protection", kinds.DATABASE, "database", sets(skipFinalSnapshot=True)),
    M("database-backups", kinds.DATABASE, "database", sets(backupRetentionPeriod=0.0)),
    M("database-backup-days", kinds.DATABASE, "database", sets(backupRetentionPeriod=6.0)),
    M("database-multi-zone", kinds.DATABASE, "database", sets(multiAz=False)),
    M("database-updates", kinds.DATABASE, "database", sets(autoMinorVersionUpgrade=False)),
    M("database-iam", kinds.DATABASE, "database", lacks("iamDatabaseAuthenticationEnabled")),
    M("database-no-password", kinds.DATABASE, "database", sets(password="hunter2")),
    M("database-no-password", kinds.DATABASE, "database", lacks("manageMasterUserPassword")),
    M("database-logs", kinds.DATABASE, "database", lacks("enabledCloudwatchLogsExports")),
    M("cache-survives", kinds.CACHE, "cache", sets(automaticFailoverEnabled=False)),
    M("cache-survives", kinds.CACHE, "cache", lacks("multiAzEnabled")),
    M("table-recovery", kinds.TABLE, "dispatch", lacks("pointInTimeRecovery")),
    M("table-deletion-protection", kinds.TABLE, "dispatch", sets(deletionProtectionEnabled=False)),
    M("balancer-deletion-protection", kinds.LOAD_BALANCER, "-nlb", sets(enableDeletionProtection=False)),
    M("nothing-forced", kinds.BUCKET, "bodies", sets(forceDestroy=True)),
    M("nothing-forced", kinds.REPOSITORY, "services-relay", sets(forceDelete=True)),
    M("secret-recovery", kinds.SECRET, "tls", sets(recoveryWindowInDays=0.0)),
    M("key-deletion-days", kinds.KEY, "mail", sets(deletionWindowInDays=7.0)),
    M("bucket-expiry", kinds.BUCKET_LIFECYCLE, "bodies", gone),
    M(
        "bucket-expiry",
        kinds.BUCKET_LIFECYCLE,
        "bodies",
        sets(rules=[{"status": "Disabled", "expiration": {"days": 1}}]),
    ),
    M("queue-dead-letters", kinds.QUEUE, "delivery", unlinks("redrivePolicy")),
    M(
        "queue-dead-letters",
        kinds.REDRIVE_ALLOW,
        "delivery",
        sets(redriveAllowPolicy='{"redrivePermission": "denyAll"}'),
    ),
    M("dead-letters-stay", kinds.QUEUE, "delivery-dead", sets(messageRetentionSeconds=345_600.0)),
    M("task-user", kinds.TASK, "relay", container(user="0:0")),
    M("task-user", kinds.TASK, "relay", container(user=None)),
    M("task-read-only", kinds.TASK, "relay", container(readonlyRootFilesystem=False)),
    M("task-unprivileged", kinds.TASK, "relay", container(privileged=True)),
    M("task-init", kinds.TASK, "relay", container(linuxParameters={})),
    M("task-stop-timeout", kinds.TASK, "relay", container(stopTimeout=300)),
    M("task-stop-timeout", kinds.TASK, "relay", container(stopTimeout=None)),
    M("task-logs", kinds.TASK, "relay", container(logConfiguration=None)),
    M("task-image-pinned", kinds.TASK, "relay", container(image="registry.example.com/relay:latest")),
    M("task-no-secrets", kinds.TASK, "relay", variable("DATABASE_PASSWORD", "x")),
    M(
        "task-no-secrets",
        kinds.TASK,
        "relay",
        variable("CREDENTIAL_KEY_SECRET", "${smtp-proxy-prod-key.secret_string}"),
    ),
    M("task-no-secrets", kinds.TASK, "relay", variable("DATABASE", "postgresql://relay:hunter2@db/relay")),
    M("task-no-secrets", kinds.TASK, "relay", container(secrets=[{"name": "KEY", "valueFrom": "arn"}])),
    M("service-health", kinds.TASK, "prod-worker", container(healthCheck=None)),
    M("service-health", kinds.SERVICE, "prod-relay", lacks("healthCheckGracePeriodSeconds")),
    M("service-rolls-back", kinds.SERVICE, "prod-worker", sets(deploymentCircuitBreaker={"enable": True})),
    M("service-rolls-back", kinds.SERVICE, "prod-worker", sets(alarms={"enable": True, "alarmNames": ["errors"]})),
    M("service-rolls-back", kinds.SERVICE, "prod-worker", sets(deploymentConfiguration={"strategy": "CANARY"})),
    M("service-no-exec", kinds.SERVICE, "prod-worker", sets(enableExecuteCommand=True)),
    M("deployment-rolls-back", kinds.DEPLOYMENT_GROUP, "mailing", lacks("autoRollbackConfiguration")),
    M("deployment-rolls-back", kinds.DEPLOYMENT_GROUP, "mailing", sets(alarmConfiguration={"enabled": False})),
    M("target-health", kinds.TARGET_GROUP, "balancers-relay", sets(healthCheck={"protocol": "TCP"})),
    M("repository-immutable", kinds.REPOSITORY, "services-relay", lacks("imageTagMutability")),
    M("repository-scanned", kinds.REPOSITORY, "services-relay", sets(imageScanningConfiguration={"scanOnPush": False})),
    M("repository-expiry", kinds.REPOSITORY_LIFECYCLE, "services-relay", gone),
    M("log-retention", kinds.LOG_GROUP, "prod-relay", lacks("retentionInDays")),
    M("balancer-access-logs", kinds.LOAD_BALANCER, "-alb", sets(accessLogs={"bucket": "b", "enabled": False})),
    M("vpc-flow-logs", kinds.FLOW_LOG, "network", sets(trafficType="REJECT")),
    M("vpc-flow-logs", kinds.FLOW_LOG, "network", gone),
    M("alarm-acts", kinds.ACTION_ALARM, "depth", lacks("alarmActions")),
    M("alarm-acts", kinds.ACTION_ALARM, "depth", sets(actionsEnabled=False)),
    M("alarm-missing-data", kinds.ACTION_ALARM, "depth", lacks("treatMissingData")),
    M("topic-subscribed", kinds.SUBSCRIPTION, "alarms-0", gone),
    M("provider-tags", kinds.PROVIDER, "aws", sets(defaultTags='{"tags": {"Project": "smtp-proxy"}}')),
]

IDS = [f"{number}-{one.rule}" for number, one in enumerate(ALL)]


def direct(graph: Graph) -> Graph:
    """The relay's tasks have public addresses and let the internet in, on a port that is otherwise fine."""

    def change(node: Node) -> Node:
        if node.type == kinds.SERVICE and node.name.endswith("prod-relay"):
            network = {**node.inputs["networkConfiguration"], "assignPublicIp": True}
            return replace(node, inputs={**node.inputs, "networkConfiguration": network})
        if node.type == kinds.INGRESS and node.name.endswith("nlb-relay-2587"):
            rest = {key: value for key, value in node.inputs.items() if key != "referencedSecurityGroupId"}
            return replace(node, inputs={**rest, "cidrIpv4": "0.0.0.0/0", "fromPort": 587.0, "toPort": 587.0})
        return node

    return replace(graph, nodes=tuple(map(change, graph.nodes)))
