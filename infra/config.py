"""What a stack may choose, held against AWS's limits before AWS is asked. Defaults are in Pulumi.yaml."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
from pulumi.runtime import config as runtime_config

from infra.reader import Choice, Pattern, Range, Reader

_STACK = re.compile(r"[a-z]([a-z0-9-]{0,14}[a-z0-9])?")

_REGION = Choice(frozenset(region.value for region in aws.Region), "the AWS regions of this pulumi-aws", "us-east-1")
_ACCOUNT = Pattern(re.compile(r"(\d{12})?"), "AWS accounts have 12 digits", "123456789012")
_KEY_DELETION = Range(7, 30, "KMS allows {} to {} days", 30)
_VISIBILITY = Range(0, 43_200, "SQS allows {} to {} seconds", 120)
_RETENTION = Range(1, 14, "SQS keeps a message {} to {} days", 14)
_RECEIVES = Range(1, 1_000, "SQS allows {} to {}", 5)
# A job waits up to 14 days on the queue and as a dead letter, and its body has to be there on the last one.
_BODY_RETENTION = Range(15, 3_650, "a job can wait 14 days for its body, so {} to {} days are allowed", 30)

# AWS: 50 tags a resource, keys of 128 and values of 256 characters of this set, "aws:" is its own prefix.
_OWN_TAGS = ("Project", "Stack", "ManagedBy")
_TAGS_LIMIT = 50 - len(_OWN_TAGS)
_TAG_KEY = re.compile(r"(?!aws:)[\w .:/=+@-]{1,128}", re.IGNORECASE)
_TAG_VALUE = re.compile(r"[\w .:/=+@-]{0,256}")


@dataclass(frozen=True, kw_only=True)
class QueueSettings:
    """The delivery queue."""

    visibility_seconds: int
    retention_days: int
    max_receives: int


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One stack."""

    project: str
    stack: str
    region: str
    account: str
    tags: Mapping[str, str]
    protect: bool
    customer_key: bool
    key_deletion_days: int
    body_retention_days: int
    queue: QueueSettings


def load() -> Settings:
    """Reads the configuration Pulumi was started with."""
    values: dict[str, str] = runtime_config.get_config_env() | runtime_config.CONFIG.get()
    return read(pulumi.get_project(), pulumi.get_stack(), values)


def read(project: str, stack: str, values: Mapping[str, str]) -> Settings:
    """Makes settings of the values, or raises one ConfigError that names every problem."""
    reader = Reader(project, values)
    if not _STACK.fullmatch(stack):
        reader.report(
            f"the stack is named {stack!r}; the names of buckets allow 1 to 16 lower-case letters, digits and hyphens, "
            "a letter first. Run: pulumi stack rename NAME"
        )
    settings = Settings(
        project=project,
        stack=stack,
        region=reader.one_of("region", _REGION),
        account=reader.matching("account", _ACCOUNT),
        tags={"Project": project, "Stack": stack, "ManagedBy": "pulumi", **_tags(reader)},
        protect=reader.boolean("protect"),
        customer_key=reader.boolean("customerKey"),
        key_deletion_days=reader.integer("keyDeletionDays", _KEY_DELETION),
        body_retention_days=reader.integer("bodyRetentionDays", _BODY_RETENTION),
        queue=QueueSettings(
            visibility_seconds=reader.integer("queueVisibilitySeconds", _VISIBILITY),
            retention_days=reader.integer("queueRetentionDays", _RETENTION),
            max_receives=reader.integer("queueMaxReceives", _RECEIVES),
        ),
    )
    reader.finish(stack)
    return settings


def _tags(reader: Reader) -> Mapping[str, str]:
    tags = reader.mapping("tags")
    if len(tags) > _TAGS_LIMIT:
        reader.refuse("tags", f"{len(tags)} tags", f"AWS allows 50, of which {len(_OWN_TAGS)} are ours", "remove some")
    for key, value in tags.items():
        shown = json.dumps({key: value})
        if key in _OWN_TAGS:
            reader.refuse("tags", shown, f"{', '.join(_OWN_TAGS)} are set by the stack", f"remove {key}")
        if not _TAG_KEY.fullmatch(key):
            reader.refuse(
                "tags",
                shown,
                'AWS allows keys of 1 to 128 letters, digits, spaces and .:/=+@-_, not "aws:"',
                "rename it",
            )
        if not _TAG_VALUE.fullmatch(value):
            reader.refuse(
                "tags", shown, "AWS allows values of up to 256 letters, digits, spaces and .:/=+@-_", "change the value"
            )
    return tags
