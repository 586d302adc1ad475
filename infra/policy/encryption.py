"""Encryption at rest and in transit (QG-5)."""

from collections.abc import Iterator
from typing import Final

from infra.policy import kinds
from infra.policy.documents import refuses_plaintext, statements
from infra.policy.model import Resource, Rule, World, unless, unless_in
from infra.values import mapping, texts

# AWS: "Security policies for your Application Load Balancer". Older ones allow TLS 1.0, or weak ciphers.
_TLS_POLICIES: Final = ("ELBSecurityPolicy-TLS13-1-2-", "ELBSecurityPolicy-TLS13-1-3-")


def _bucket_encrypted(bucket: Resource, world: World) -> bool:
    return any(map(_encrypts, world.pointing(kinds.BUCKET_ENCRYPTION, "bucket", bucket)))


def _encrypts(configuration: Resource) -> bool:
    default = mapping(configuration.get("rules", "applyServerSideEncryptionByDefault"))
    if default.get("sseAlgorithm") == "aws:kms":
        # Without the bucket key, S3 asks KMS for every object.
        return bool(default.get("kmsMasterKeyId")) and configuration.get("rules", "bucketKeyEnabled") is True
    return default.get("sseAlgorithm") == "AES256"


def _bucket_over_tls(bucket: Resource, world: World) -> bool:
    return any(
        refuses_plaintext(statement) and statement.get("Action") == "s3:*" and _whole(texts(statement.get("Resource")))
        for policy in world.pointing(kinds.BUCKET_POLICY, "bucket", bucket)
        for statement in statements(policy)
    )


def _whole(resources: list[str]) -> bool:
    return any(f"{resource}/*" in resources for resource in resources)


def _guarded(policies: list[Resource], action: str) -> bool:
    return any(
        refuses_plaintext(statement) and action in texts(statement.get("Action"))
        for policy in policies
        for statement in statements(policy)
    )


def _database_over_tls(database: Resource, world: World) -> bool:
    return any(
        parameter.get("name") == "rds.force_ssl" and parameter.get("value") == "1"
        for group in world.pointed(database, "parameterGroupName", kinds.PARAMETERS)
        for parameter in group.items("parameters")
    )


def _cache_over_tls(cache: Resource) -> bool:
    return cache.get("transitEncryptionEnabled") is True and cache.get("transitEncryptionMode") in ("required", None)


def _plain_listener(listener: Resource, world: World) -> Iterator[str]:
    protocol = listener.get("protocol")
    if protocol == "HTTP":
        wrong = [action for action in listener.items("defaultActions") if not _to_https(action)]
        yield from ("" for _ in wrong[:1])
    elif protocol is None and any(
        balancer.get("loadBalancerType") != "network"
        for balancer in world.pointed(listener, "loadBalancerArn", kinds.LOAD_BALANCER)
    ):
        yield "its protocol is not said"


def _to_https(action: dict[str, dict[str, str]]) -> bool:
    return action.get("redirect", {}).get("protocol") == "HTTPS"


def _modern(listener: Resource) -> bool:
    if listener.get("protocol") not in ("HTTPS", "TLS"):
        return True
    return str(listener.get("sslPolicy")).startswith(_TLS_POLICIES)


RULES: Final = (
    Rule(
        name="bucket-encrypted",
        severity="high",
        kinds=(kinds.BUCKET,),
        message="the bucket says no encryption, or one without a bucket key",
        remedy="Add a BucketServerSideEncryptionConfiguration with AES256, or aws:kms with a key and a bucket key.",
        check=unless_in(_bucket_encrypted),
        whole=True,
    ),
    Rule(
        name="bucket-tls-only",
        severity="high",
        kinds=(kinds.BUCKET,),
        message="the bucket answers requests without TLS",
        remedy="Add a BucketPolicy that denies s3:* on bucket and objects where aws:SecureTransport is false.",
        check=unless_in(_bucket_over_tls),
        whole=True,
    ),
    Rule(
        name="queue-encrypted",
        severity="high",
        kinds=(kinds.QUEUE,),
        message="the queue is not encrypted",
        remedy="Set sqs_managed_sse_enabled=True or kms_master_key_id.",
        check=unless(lambda queue: queue.get("kmsMasterKeyId") or queue.get("sqsManagedSseEnabled") is True),
    ),
    Rule(
        name="queue-tls-only",
        severity="high",
        kinds=(kinds.QUEUE,),
        message="the queue answers requests without TLS",
        remedy="Add a QueuePolicy that denies sqs:* where aws:SecureTransport is false.",
        check=unless_in(lambda queue, world: _guarded(world.pointing(kinds.QUEUE_POLICY, "queueUrl", queue), "sqs:*")),
        whole=True,
    ),
    Rule(
        name="topic-encrypted",
        severity="medium",
        kinds=(kinds.TOPIC,),
        message="the topic is not encrypted, or with alias/aws/sns, which alarms cannot use",
        remedy="Set kms_master_key_id to a key of the stack that lets the publishing services use it.",
        check=unless(lambda topic: topic.get("kmsMasterKeyId") not in (None, "", "alias/aws/sns")),
    ),
    Rule(
        name="topic-tls-only",
        severity="medium",
        kinds=(kinds.TOPIC,),
        message="the topic takes messages without TLS",
        remedy="Add a TopicPolicy that denies sns:Publish where aws:SecureTransport is false.",
        check=unless_in(lambda topic, world: _guarded(world.pointing(kinds.TOPIC_POLICY, "arn", topic), "sns:Publish")),
        whole=True,
    ),
    Rule(
        name="database-encrypted",
        severity="high",
        kinds=(kinds.DATABASE,),
        message="the database's storage is not encrypted",
        remedy="Set storage_encrypted=True; a replica takes it from its source.",
        check=unless(lambda one: one.get("storageEncrypted") is True or one.get("replicateSourceDb")),
    ),
    Rule(
        name="database-tls-only",
        severity="high",
        kinds=(kinds.DATABASE,),
        message="the database takes connections without TLS",
        remedy='Set the parameter rds.force_ssl to "1" in its parameter group.',
        check=unless_in(_database_over_tls),
        whole=True,
    ),
    Rule(
        name="cache-encrypted",
        severity="high",
        kinds=(kinds.CACHE,),
        message="the cache is not encrypted at rest",
        remedy="Set at_rest_encryption_enabled=True.",
        check=unless(lambda cache: cache.get("atRestEncryptionEnabled") is True),
    ),
    Rule(
        name="cache-tls-only",
        severity="high",
        kinds=(kinds.CACHE,),
        message="the cache takes connections without TLS",
        remedy='Set transit_encryption_enabled=True and transit_encryption_mode="required".',
        check=unless(_cache_over_tls),
    ),
    Rule(
        name="listener-tls",
        severity="high",
        kinds=(kinds.LISTENER,),
        message="the listener speaks HTTP without TLS and does more than redirect",
        remedy="Use HTTPS with a certificate, or redirect to it.",
        check=_plain_listener,
        whole=True,
    ),
    Rule(
        name="listener-tls-policy",
        severity="high",
        kinds=(kinds.LISTENER,),
        message="the listener allows old TLS",
        remedy='Set ssl_policy="ELBSecurityPolicy-TLS13-1-2-Res-2021-06".',
        check=unless(_modern),
    ),
    Rule(
        name="targets-tls",
        severity="high",
        kinds=(kinds.TARGET_GROUP,),
        message="the balancer speaks HTTP without TLS to its targets",
        remedy='Set protocol="HTTPS"; targets may make their certificates themselves.',
        check=unless(lambda group: group.get("protocol") != "HTTP"),
    ),
    Rule(
        name="ses-tls",
        severity="medium",
        kinds=(kinds.CONFIGURATION_SET,),
        message="Amazon SES may deliver without TLS",
        remedy='Set delivery_options.tls_policy="REQUIRE".',
        check=unless(lambda one: one.get("deliveryOptions", "tlsPolicy") == "REQUIRE"),
    ),
    Rule(
        name="key-rotates",
        severity="medium",
        kinds=(kinds.KEY,),
        message="the key never rotates",
        remedy="Set enable_key_rotation=True.",
        check=unless(lambda key: key.get("enableKeyRotation") is True or key.get("keyUsage") == "GENERATE_VERIFY_MAC"),
    ),
)
