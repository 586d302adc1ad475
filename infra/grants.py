"""What each process may do in AWS: a table of statements, no more than it calls; nothing here creates a resource."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pulumi import Input, Output

from infra import iam
from infra.settings import Role

Statement = Mapping[str, object]

_SEND: Final = "sqs:SendMessage"
_TAKE: Final = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
# SQS and S3 use the key in the name of whoever calls them.
_SEAL: Final = ["kms:GenerateDataKey", "kms:Decrypt"]
_OPEN: Final = ["kms:Decrypt"]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """ARNs of what the stack has; what may be missing from it is None or empty."""

    region: str
    cluster: Output[str]
    delivery_queue: Input[str]
    dead_letter_queue: Input[str]
    events_queue: Input[str]
    bodies_bucket: Input[str]
    archive_bucket: Input[str]
    backup_bucket: Input[str]
    certificate_secret: Input[str]
    credential_key_secret: Input[str]
    issued_secrets: Input[str]
    """Of all secrets that the operator's command puts passwords and keys into which it has made."""
    acme_account_secret: Input[str]
    lock_table: Input[str]
    hosted_zone: Input[str]
    challenge_names: Sequence[str]
    """Of the TXT records that prove names, such as _acme-challenge.smtp.example.com."""
    database: Output[str]
    database_resource_id: Input[str]
    replica_resource_id: Input[str] | None = None
    database_users: Mapping[Role, str]
    cache: Input[str]
    cache_users: Mapping[Role, Input[str]]
    provider_key: Input[str]
    """Of the KMS key for secrets of providers."""
    master_secret: Input[str]
    """With which the schema is made and users are created."""
    mail_key: Input[str] | None = None
    """Of the KMS key of queues, buckets and the table, where they do not use keys of AWS."""
    secrets_key: Input[str] | None = None
    """Of the KMS key of Secrets Manager's secrets, likewise."""
    master_is_ours: bool = False
    """RDS does not manage the master password, as with a read replica; `prepare` makes it and has RDS set it."""
    ses_identities: Sequence[Input[str]] = ()
    ses_configuration_set: Input[str] | None = None


def statements(role: Role, resources: Resources) -> list[Statement]:
    """Returns what a process may do."""
    return [statement for part in _ROLES[role] for statement in part(role, resources)]


def shells(log_group: Output[str], key: Input[str] | None = None) -> list[Statement]:
    """Returns what a task needs beside that while shells in it are allowed (ECS-014).

    Args:
        log_group: ARN of the group that keeps what is typed and shown.
        key: ARN of the KMS key that encrypts shells, where there is one.
    """
    channels = [f"ssmmessages:{verb}{what}Channel" for verb in ("Create", "Open") for what in ("Control", "Data")]
    written = [
        iam.allow(
            ["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [Output.concat(log_group, ":*")]
        ),
        iam.allow(["logs:DescribeLogGroups"], ["*"]),
    ]
    return [iam.allow(channels, ["*"]), *written, *([iam.allow(_OPEN, [key])] if key else [])]


def _database(role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow(["rds-db:connect"], [_database_user(role, on, on.database_resource_id)])


def _replica(role: Role, on: Resources) -> Iterator[Statement]:
    if on.replica_resource_id is not None:
        yield iam.allow(["rds-db:connect"], [_database_user(role, on, on.replica_resource_id)])


def _database_user(role: Role, on: Resources, instance: Input[str]) -> Output[str]:
    return iam.beside(on.database, "rds-db", Output.concat("dbuser:", instance, "/", on.database_users[role]))


def _cache(role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow(["elasticache:Connect"], [on.cache, on.cache_users[role]])


def _protection(_role: Role, on: Resources) -> Iterator[Statement]:
    tasks = Output.concat(on.cluster.apply(lambda arn: arn.replace(":cluster/", ":task/")), "/*")
    yield iam.allow(["ecs:UpdateTaskProtection"], [tasks])


def _submission(_role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow([_SEND, "sqs:GetQueueAttributes"], [on.delivery_queue])
    yield iam.allow(["cloudwatch:GetMetricData"], ["*"])
    yield iam.allow(["s3:PutObject", "s3:AbortMultipartUpload"], [_below(on.bodies_bucket, "bodies")])
    yield from _key(on.mail_key, _SEAL, on, "sqs", "s3")


def _delivery(_role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow([_SEND, *_TAKE, "sqs:GetQueueAttributes"], [on.delivery_queue])
    yield iam.allow([_SEND], [on.dead_letter_queue])
    yield iam.allow(_TAKE, [on.events_queue])
    yield iam.allow(["s3:GetObject", "s3:PutObject", "s3:DeleteObject"], [_below(on.bodies_bucket, "bodies")])
    # Without it S3 says of an object that is not there that it is forbidden.
    yield iam.allow(["s3:ListBucket"], [on.bodies_bucket])
    yield iam.allow(["s3:PutObject"], [_below(on.archive_bucket, "archive")])
    yield from _key(on.mail_key, _SEAL, on, "sqs", "s3")


def _ses(_role: Role, on: Resources) -> Iterator[Statement]:
    through = [*on.ses_identities, *([on.ses_configuration_set] if on.ses_configuration_set else [])]
    if through:
        yield iam.allow(["ses:SendEmail", "ses:SendRawEmail"], through)
    yield iam.allow(["ses:GetAccount"], ["*"])


def _reading_providers(_role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow(_OPEN, [on.provider_key])


def _writing_providers(_role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow(["kms:GenerateDataKey"], [on.provider_key])


def _relay_secrets(_role: Role, on: Resources) -> Iterator[Statement]:
    yield from _secrets(on, [on.credential_key_secret, on.certificate_secret])


def _desk_secrets(_role: Role, on: Resources) -> Iterator[Statement]:
    yield from _secrets(on, [on.credential_key_secret])


def _issuing(_role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow(["secretsmanager:CreateSecret", "secretsmanager:PutSecretValue"], [on.issued_secrets])
    yield from _key(on.secrets_key, _SEAL, on, "secretsmanager")


def _preparing(_role: Role, on: Resources) -> Iterator[Statement]:
    made = [on.credential_key_secret, *([on.master_secret] if on.master_is_ours else [])]
    yield iam.allow(["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"], made)
    if not on.master_is_ours:
        yield iam.allow(["secretsmanager:GetSecretValue"], [on.master_secret])
    yield from _key(on.secrets_key, _SEAL, on, "secretsmanager")
    if on.master_is_ours:
        yield iam.allow(["rds:ModifyDBInstance"], [on.database])


def _submitting(_role: Role, on: Resources) -> Iterator[Statement]:
    # Jobs are sent as those of dead letters are.
    yield iam.allow(["s3:GetObject", "s3:PutObject"], [_below(on.bodies_bucket, "bodies")])
    yield iam.allow(["s3:ListBucket"], [on.bodies_bucket])
    yield from _key(on.mail_key, _SEAL, on, "s3")


def _looking(_role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow(["sqs:GetQueueAttributes"], [on.delivery_queue, on.dead_letter_queue])


def _dead_letters(_role: Role, on: Resources) -> Iterator[Statement]:
    yield iam.allow(_TAKE, [on.dead_letter_queue])
    yield iam.allow([_SEND], [on.delivery_queue])
    yield from _key(on.mail_key, _SEAL, on, "sqs")


def _certificates(_role: Role, on: Resources) -> Iterator[Statement]:
    both = [on.certificate_secret, on.acme_account_secret]
    yield iam.allow(["secretsmanager:GetSecretValue", "secretsmanager:PutSecretValue"], both)
    yield from _key(on.secrets_key, _SEAL, on, "secretsmanager")
    yield iam.allow(["dynamodb:GetItem", "dynamodb:PutItem"], [on.lock_table])
    yield iam.allow(["s3:PutObject"], [_below(on.backup_bucket, "certificates")])
    # DynamoDB, too, uses the key of a table in the name of whoever reads or writes it.
    yield from _key(on.mail_key, _SEAL, on, "s3", "dynamodb")


def _certificate_records(_role: Role, on: Resources) -> Iterator[Statement]:
    # In the same table, the renewer keeps its lock and what it remembers.
    only = {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": ["certificate#*"]}}
    yield iam.allow(["dynamodb:GetItem"], [on.lock_table], only)
    yield from _key(on.mail_key, _OPEN, on, "dynamodb")


def _names(_role: Role, on: Resources) -> Iterator[Statement]:
    # Whoever may write records may take over names, so these are the only ones.
    only = {
        "ForAllValues:StringEquals": {
            "route53:ChangeResourceRecordSetsNormalizedRecordNames": list(on.challenge_names),
            "route53:ChangeResourceRecordSetsRecordTypes": ["TXT"],
            "route53:ChangeResourceRecordSetsActions": ["UPSERT", "DELETE"],
        }
    }
    yield iam.allow(["route53:ChangeResourceRecordSets"], [on.hosted_zone], only)
    yield iam.allow(["route53:GetChange"], ["arn:aws:route53:::change/*"])


def _secrets(on: Resources, secrets: Sequence[Input[str]]) -> Iterator[Statement]:
    yield iam.allow(["secretsmanager:GetSecretValue"], secrets)
    yield from _key(on.secrets_key, _OPEN, on, "secretsmanager")


def _key(key: Input[str] | None, actions: Sequence[str], on: Resources, *services: str) -> Iterator[Statement]:
    """Lets a key be used, but only through the services that the data is kept by."""
    if key is not None:
        through = [f"{service}.{on.region}.amazonaws.com" for service in services]
        yield iam.allow(actions, [key], {"StringEquals": {"kms:ViaService": through}})


def _below(bucket: Input[str], folder: str) -> Output[str]:
    return Output.concat(bucket, f"/{folder}/*")


Part = Callable[[Role, Resources], Iterator[Statement]]
_ROLES: Final[Mapping[Role, tuple[Part, ...]]] = {
    "relay": (_database, _cache, _protection, _submission, _relay_secrets),
    "worker": (_database, _cache, _delivery, _ses, _reading_providers, _writing_providers),
    "api": (
        _database,
        _replica,
        _cache,
        _reading_providers,
        _writing_providers,
        _desk_secrets,
        _dead_letters,
        _submitting,
        _certificate_records,
    ),
    "console": (_database, _replica, _cache, _desk_secrets, _looking),
    "renewer": (_certificates, _names),
    "operator": (_database, _cache, _writing_providers, _desk_secrets, _issuing, _dead_letters),
    "prepare": (_preparing,),
}
