"""What the worker reads from its environment."""

from pydantic import Field

from backing.settings import ProviderKeySettings, ServiceSettings


class WorkerSettings(ServiceSettings, ProviderKeySettings):
    """The worker's own settings beside the shared ones."""

    worker_concurrency: int = Field(default=64, ge=1, le=1000, description="Messages being sent at a time.")
    worker_lease_seconds: float = Field(
        default=120.0, ge=2, le=900, description="How long a claim holds; a send is ended before it runs out."
    )
    worker_poll_seconds: int = Field(default=20, ge=0, le=20, description="Long poll of the queue.")
    worker_retry_seconds: tuple[int, ...] = Field(
        default=(60, 300, 600, 1200, 2400, 3600, 7200, 14400),
        min_length=1,
        description="Waits between attempts, as a JSON list; the last one repeats until the message expires.",
    )
    worker_expiry_seconds: int = Field(
        default=172_800, ge=60, le=1_209_600, description="Age at which an undelivered recipient expires (48 h)."
    )
    worker_unknown_seconds: float = Field(
        default=120.0, ge=0, description="Wait before an unknown outcome is acted on by the account's policy."
    )
    worker_dispatch_seconds: float = Field(
        default=2.0, gt=0, le=60, description="How often due deferred mail is put back on the queue."
    )
    worker_drain_seconds: float = Field(
        default=110.0, gt=0, le=115, description="Hard end of a drain; Fargate kills after 120 s."
    )
