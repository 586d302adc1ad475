"""What the worker reads from its environment."""

from typing import Final

from pydantic import Field

from backing.settings import RELOADABLE, Networks, ProviderKeySettings, ServiceSettings

# The rest of a lease is for writing down what came of an attempt.
MAX_LEASE_SHARE: Final = 7 / 8


class WorkerSettings(ServiceSettings, ProviderKeySettings):
    """The worker's own settings beside the shared ones."""

    worker_concurrency: int = Field(
        default=64, ge=1, le=1000, description="Messages being sent at a time.", json_schema_extra=RELOADABLE
    )
    worker_lease_seconds: float = Field(
        default=120.0, ge=2, le=900, description="How long a claim holds; it is extended while attempts are made."
    )
    worker_attempt_seconds: float = Field(
        default=60.0,
        gt=0,
        le=600,
        description="Longest time for one attempt at a provider, within 7/8 of a lease.",
        json_schema_extra=RELOADABLE,
    )
    worker_patience_seconds: float = Field(
        default=2.0,
        ge=0,
        le=60,
        description="How long a message in hand waits for its provider's rate.",
        json_schema_extra=RELOADABLE,
    )
    worker_max_body_bytes: int = Field(
        default=268_435_456, ge=1_048_576, description="Octets of bodies from S3 in memory at a time."
    )
    dead_letter_queue_url: str = Field(
        default="", description="Where messages go that nobody can read; empty leaves them to the queue's own policy."
    )
    worker_hostname: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9.-]{0,255}$",
        description="Our name in reports to senders; the machine's if empty.",
    )
    worker_report_sender: str = Field(
        default="",
        pattern=r"^$|^[\x21-\x3b\x3d\x3f-\x7e]+@[A-Za-z0-9.-]+$",
        description="Address that reports to senders come from; mailer-daemon at the sender's own domain if empty.",
    )
    worker_poll_seconds: int = Field(
        default=20, ge=0, le=20, description="Long poll of the queue; a drain waits for the end of one."
    )
    worker_retry_seconds: tuple[int, ...] = Field(
        default=(60, 300, 600, 1200, 2400, 3600, 7200, 14400),
        min_length=1,
        description="Waits between attempts, as a JSON list; the last one repeats until the message expires.",
        json_schema_extra=RELOADABLE,
    )
    worker_expiry_seconds: int = Field(
        default=172_800, ge=60, le=1_209_600, description="Age at which an undelivered recipient expires (48 h)."
    )
    worker_unknown_seconds: float = Field(
        default=120.0,
        ge=0,
        description="Wait before an unknown outcome is acted on by the account's policy.",
        json_schema_extra=RELOADABLE,
    )
    worker_dispatch_seconds: float = Field(
        default=2.0, gt=0, le=60, description="How often due deferred mail is put back on the queue."
    )
    worker_drain_seconds: float = Field(
        default=110.0, gt=0, le=115, description="Hard end of a drain; Fargate kills after 120 s."
    )
    worker_routing_seconds: float = Field(
        default=5.0,
        ge=0,
        le=300,
        description="Age at which an account's rules and providers are read again; change notices are quicker.",
    )
    events_queue_url: str = Field(
        default="",
        description="URL of the SQS queue to which SES tells what became of mail, through SNS or EventBridge; empty: "
        "none.",
    )
    events_rematch_seconds: float = Field(
        default=5.0,
        gt=0,
        le=60,
        description="How often events that came before the result they are about are looked at again.",
    )
    events_retention_seconds: float = Field(
        default=2_592_000.0,
        ge=172_800,
        description="Age at which events of providers are removed (30 days); repeated calls are known for as long.",
    )
    webhook_allowed_networks: Networks = Field(
        default=(),
        description="Networks that webhooks may be posted to beside the public internet, such as 10.0.0.0/8.",
    )
    provider_allowed_networks: Networks = Field(
        default=(),
        description="Networks that providers may be in beside the public internet, such as 10.0.0.0/8 for a mail "
        "server within your own network.",
    )
    worker_retention_days: int = Field(
        default=7,
        ge=1,
        le=3650,
        description="Age at which finished mail is forgotten, where its account says nothing.",
        json_schema_extra=RELOADABLE,
    )
    worker_outbox_days: int = Field(
        default=30,
        ge=1,
        le=3650,
        description="Age at which events are forgotten, and can be replayed no more.",
        json_schema_extra=RELOADABLE,
    )
    worker_audit_days: int = Field(
        default=365,
        ge=1,
        le=3650,
        description="Age at which the audit log forgets who changed what.",
        json_schema_extra=RELOADABLE,
    )
    archive_bucket: str = Field(
        default="",
        description="S3 bucket for the stories of all mail before it is forgotten; empty: only of accounts that want "
        "it, in the bucket of bodies.",
    )
    worker_share: float = Field(
        default=0.25,
        gt=0,
        le=1,
        description="Part of each provider's rate and day that one worker keeps to while the cache is away: "
        "1 divided by the number of workers, or less.",
    )
