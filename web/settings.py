"""What the API and the console read from their environment."""

from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from backing.settings import (
    RELOADABLE,
    CredentialKeySettings,
    Networks,
    Port,
    ProviderKeySettings,
    ServiceSettings,
    Texts,
    without_password,
)


class WebSettings(ServiceSettings, CredentialKeySettings, ProviderKeySettings):
    """The settings of both beside the shared ones."""

    database_acquire_timeout_seconds: float = Field(
        default=3.0, gt=0, le=30, description="Longest wait for a free connection; 503 beyond (EC-2)."
    )
    database_replica_url: Annotated[str, AfterValidator(without_password)] = Field(
        default="",
        description="Address of a read replica, as DATABASE_URL; searches and stories of messages are read there while "
        "it answers, and may be some moments late. Empty: none.",
    )
    web_host: str = Field(default="0.0.0.0", description="Address that requests are listened for on.")  # noqa: S104 - a container listens on its own network interface
    web_port: Port = Field(default=8080, description="Port that requests are listened for on.")
    web_tls: bool = Field(
        default=False,
        description="Take requests over TLS, with a certificate made at each start, for a load balancer that checks "
        "none; off: plain HTTP, for what is on the same machine.",
    )
    web_proxy_networks: Networks = Field(
        default=(),
        description="Networks of load balancers; only their X-Forwarded-For and X-Forwarded-Proto are believed.",
    )
    web_hostname: str = Field(
        default="localhost",
        pattern=r"^[A-Za-z0-9.-]{1,255}$",
        description="Our name in the Received header of what is submitted.",
    )
    web_max_body_bytes: int = Field(
        default=1_048_576,
        ge=65_536,
        le=16_777_216,
        description="Largest body of a request; 413 beyond.",
        json_schema_extra=RELOADABLE,
    )
    web_max_message_bytes: int = Field(
        default=36_700_160,
        ge=65_536,
        le=41_943_040,
        description="Largest message that can be submitted; 413 beyond.",
        json_schema_extra=RELOADABLE,
    )
    web_max_recipients: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="Recipients of a submitted message.",
        json_schema_extra=RELOADABLE,
    )
    web_max_bytes_in_flight: int = Field(
        default=134_217_728,
        ge=16_777_216,
        description="Octets of bodies in memory, all requests together; 503 beyond.",
        json_schema_extra=RELOADABLE,
    )
    web_request_seconds: float = Field(
        default=30.0,
        gt=0,
        le=110,
        description="Longest time until an answer begins; 503 beyond.",
        json_schema_extra=RELOADABLE,
    )
    web_keep_alive_seconds: int = Field(
        default=75, ge=1, le=3600, description="Silence after which a connection is closed; above the load balancer's."
    )
    web_grace_seconds: float = Field(
        default=5.0, ge=0, le=60, description="After SIGTERM, time in which new connections are still answered."
    )
    web_drain_seconds: int = Field(
        default=100,
        ge=1,
        le=110,
        description="Hard end of requests after the grace; Fargate kills 120 s after SIGTERM.",
    )
    web_rate_per_minute: int = Field(
        default=100,
        ge=1,
        le=1_000_000,
        description="Requests of a key in a minute, where the key has no rate of its own.",
        json_schema_extra=RELOADABLE,
    )
    web_log_sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of requests that only read which get a log line; writes and what fails always do.",
        json_schema_extra=RELOADABLE,
    )
    web_key_cache_seconds: float = Field(
        default=5.0, ge=0, le=60, description="Time for which a key that was found good is not looked up again."
    )
    dead_letter_queue_url: str = Field(default="", description="As the worker's: the queue of what nobody can deliver.")
    certificate_table: str = Field(
        default="", description="The renewers' LOCK_TABLE, where they leave word of certificates for the API."
    )
    certificate_hosts: Texts = Field(
        default=(),
        description="The first host name of each certificate that the API tells of; needs CERTIFICATE_TABLE.",
    )
    certificate_record_files: Texts = Field(
        default=(),
        description="The same where certificates are in folders: the files server.json in them.",
    )
    provider_allowed_networks: Networks = Field(
        default=(), description="As the worker's: networks that providers may be in beside the public internet."
    )
    webhook_allowed_networks: Networks = Field(
        default=(), description="As the worker's: networks that webhooks may be posted to beside the public internet."
    )
    console_session_minutes: int = Field(
        default=480, ge=5, le=10_080, description="Time after which one signs in to the console anew."
    )
    console_secure_cookies: bool = Field(
        default=True, description="Cookies go over HTTPS only; off for a console on this machine without TLS."
    )

    @model_validator(mode="after")
    def _told_where(self) -> Self:
        if self.certificate_hosts and not self.certificate_table:
            raise ValueError("CERTIFICATE_TABLE: needed with CERTIFICATE_HOSTS")
        return self
