"""What the relay reads from its environment."""

from collections.abc import Iterator
from typing import Final, Literal, Self

from pydantic import Field, model_validator

from backing.settings import RELOADABLE, CredentialKeySettings, Networks, Port, ServiceSettings, Texts
from mail.addresses import parse_mailbox
from mail.errors import Refused

# Fargate kills 120 s after SIGTERM; the last words and the way out take the rest.
MAX_STOP_SECONDS: Final = 115.0
_BELOW: Final = (
    ("relay_queue_depth_low", "relay_queue_depth_high"),
    ("relay_queue_age_low_seconds", "relay_queue_age_high_seconds"),
)
ClientCertificates = Literal["off", "optional", "required"]


class RelaySettings(ServiceSettings, CredentialKeySettings):
    """The relay's own settings beside the shared ones."""

    relay_host: str = Field(default="0.0.0.0", description="Address that the SMTP listeners bind.")  # noqa: S104 - a container listens on its own network interface
    relay_starttls_port: Port = Field(default=2587, description="Submission port, STARTTLS (TLS-002).")
    relay_tls_port: Port = Field(default=2465, description="Submissions port, implicit TLS (TLS-002).")
    relay_hostname: str = Field(default="localhost", description="Name in the greeting, EHLO and Received header.")
    relay_postmaster: str = Field(
        default="",
        description="Address that mail to <Postmaster> without a domain goes to; empty is postmaster@RELAY_HOSTNAME.",
        json_schema_extra=RELOADABLE,
    )
    relay_certificate_secrets: Texts = Field(
        default=(),
        description="Secrets Manager ids of certificates, one per set of host names, the first for names that none "
        "has; empty: files (TLS-017).",
    )
    relay_certificate_poll_seconds: float = Field(
        default=60.0,
        ge=1,
        le=3600,
        description="How often those secrets are looked at for a new version, give or take a tenth.",
    )
    relay_certificate_file: str = Field(
        default="",
        description="PEM file with the server certificate and its chain; needed without RELAY_CERTIFICATE_SECRETS.",
    )
    relay_private_key_file: str = Field(
        default="", description="PEM file with the certificate's private key, mode 0600; needed with the certificate."
    )
    relay_certificate_folder: str = Field(
        default="", description="Folder of NAME.pem and NAME.key, each pair served to the names in its certificate."
    )
    relay_client_ca_file: str = Field(
        default="", description="PEM file of the authorities that issue clients' certificates (TLS-003)."
    )
    relay_client_ca_secret: str = Field(
        default="",
        description="Secrets Manager id of a PEM text of those authorities, in the stead of the file; polled as well.",
    )
    relay_challenge_port: Port = Field(
        default=0, description="Port that answers HTTP-01 challenges of ACME from the cache (TLS-018); 0 is none."
    )
    relay_starttls_client_certificates: ClientCertificates = Field(
        default="off", description="Client certificates on the submission port: off, optional or required."
    )
    relay_tls_client_certificates: ClientCertificates = Field(
        default="off", description="Client certificates on the submissions port: off, optional or required."
    )
    relay_proxy_networks: Networks = Field(
        default=(),
        description="Networks of load balancers; connections from there begin with a PROXY header, others never do.",
    )
    relay_max_connections: int = Field(
        default=1000,
        ge=1,
        le=10_000,
        description="Sessions at a time; 421 beyond (CORE-SMTP-005).",
        json_schema_extra=RELOADABLE,
    )
    relay_max_message_bytes: int = Field(
        default=36_700_160,
        ge=65_536,
        le=41_943_040,
        description="Largest message (SIZE), 40 MiB at most.",
        json_schema_extra=RELOADABLE,
    )
    relay_max_bytes_in_flight: int = Field(
        default=268_435_456,
        ge=16_777_216,
        description="Octets of messages in memory, all sessions together; 452 beyond.",
    )
    relay_max_recipients: int = Field(
        default=1000,
        ge=100,
        le=10_000,
        description="Recipients of one message; RFC 5321 asks for at least 100.",
        json_schema_extra=RELOADABLE,
    )
    relay_idle_timeout_seconds: float = Field(
        default=300.0,
        gt=0,
        le=3600,
        description="Silence after which a session ends with 421 (CORE-SMTP-007).",
        json_schema_extra=RELOADABLE,
    )
    relay_handshake_timeout_seconds: float = Field(
        default=30.0,
        gt=0,
        le=300,
        description="Longest TLS handshake; a PROXY header has a third of it.",
        json_schema_extra=RELOADABLE,
    )
    relay_sign_in_timeout_seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Longest wait for a command of a client not signed in, which has five times as long in all.",
        json_schema_extra=RELOADABLE,
    )
    relay_data_timeout_seconds: float = Field(
        default=180.0,
        gt=0,
        le=3600,
        description="Silence within a message after which a session ends with 421; RFC 5321 asks for 3 minutes.",
        json_schema_extra=RELOADABLE,
    )
    relay_min_octets_per_second: int = Field(
        default=100,
        ge=0,
        le=1_000_000,
        description="Rate below which a message is too slow and its session ends with 421; 0 is no limit.",
        json_schema_extra=RELOADABLE,
    )
    relay_rate_window_seconds: float = Field(
        default=60.0,
        gt=0,
        le=3600,
        description="Time over which the rate of a message is judged.",
        json_schema_extra=RELOADABLE,
    )
    relay_accept_timeout_seconds: float = Field(
        default=30.0, gt=0, le=120, description="Longest wait for the queue's confirmation before 451."
    )
    relay_credential_cache_seconds: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="Age below which a known credential is trusted without asking PostgreSQL.",
    )
    relay_grace_seconds: float = Field(
        default=5.0,
        ge=0,
        le=60,
        description="How long the listeners stay open after SIGTERM (SC-10.1).",
        json_schema_extra=RELOADABLE,
    )
    relay_drain_seconds: float = Field(
        default=100.0,
        gt=0,
        le=115,
        description="Hard end of a drain after the grace; Fargate kills after 120 s.",
        json_schema_extra=RELOADABLE,
    )
    relay_idle_drain_seconds: float = Field(
        default=10.0,
        ge=0,
        le=115,
        description="How long an idle session of a draining relay has for a next command; then it gets 421 unasked.",
        json_schema_extra=RELOADABLE,
    )
    relay_max_sessions_per_address: int = Field(
        default=50,
        ge=0,
        le=10_000,
        description="Sessions at a time from one IPv4 address or IPv6 /64 network; 421 beyond, 0 is no limit.",
        json_schema_extra=RELOADABLE,
    )
    relay_max_sessions_per_account: int = Field(
        default=500,
        ge=0,
        le=10_000,
        description="Sessions at a time of an account that has no limit of its own; 421 beyond, 0 is no limit.",
        json_schema_extra=RELOADABLE,
    )
    relay_queue_depth_high: int = Field(
        default=50_000,
        ge=1,
        description="Queued messages above which new work gets 421 (SCALE-007).",
        json_schema_extra=RELOADABLE,
    )
    relay_queue_depth_low: int = Field(
        default=40_000,
        ge=0,
        description="Queued messages below which work is taken again.",
        json_schema_extra=RELOADABLE,
    )
    relay_queue_age_high_seconds: float = Field(
        default=900.0,
        gt=0,
        description="Age of the oldest queued message above which new work gets 421.",
        json_schema_extra=RELOADABLE,
    )
    relay_queue_age_low_seconds: float = Field(
        default=600.0,
        ge=0,
        description="Age of the oldest queued message below which work is taken again.",
        json_schema_extra=RELOADABLE,
    )
    relay_protect_sessions: int = Field(
        default=0,
        ge=0,
        le=10_000,
        description="Signed-in sessions above which ECS may not end the task to scale in (SCALE-010).",
        json_schema_extra=RELOADABLE,
    )
    relay_protect_max_minutes: float = Field(
        default=60.0,
        ge=5,
        le=2880,
        description="Longest protection without a pause, so that deployments do not hang.",
        json_schema_extra=RELOADABLE,
    )
    relay_connections_per_minute: int = Field(
        default=10,
        ge=0,
        le=100_000,
        description="Connections a minute from an address nobody signed in from lately; 0 is no limit (CORE-SMTP-006).",
        json_schema_extra=RELOADABLE,
    )
    relay_exempt_networks: Networks = Field(
        default=(),
        description="Networks without limits per address, such as 10.0.0.0/8,fd00::/8: connections, failed sign-ins.",
        json_schema_extra=RELOADABLE,
    )
    ecs_agent_uri: str = Field(default="", description="Address of the ECS agent; ECS sets it.")
    relay_log_sample: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of accepted messages that get a log line; refused and deferred ones always do.",
        json_schema_extra=RELOADABLE,
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        """Check what settings have to do with each other."""
        complaints = [
            f"{low.upper()}: {values[0]:g} is not below {high.upper()}, which is {values[1]:g}"
            for low, high in _BELOW
            if (values := (getattr(self, low), getattr(self, high)))[0] >= values[1]
        ]
        complaints += self._certificates()
        if not (self.relay_client_ca_file or self.relay_client_ca_secret):
            complaints += [
                f"{key.upper()}: {mode} needs RELAY_CLIENT_CA_FILE or RELAY_CLIENT_CA_SECRET"
                for key in ("relay_starttls_client_certificates", "relay_tls_client_certificates")
                if (mode := getattr(self, key)) != "off"
            ]
        if self.relay_postmaster and not _is_address(self.relay_postmaster):
            complaints.append("RELAY_POSTMASTER: not an address as in postmaster@example.com")
        stop = self.relay_grace_seconds + self.relay_drain_seconds
        if stop > MAX_STOP_SECONDS:
            complaints.append(
                f"RELAY_DRAIN_SECONDS: {self.relay_drain_seconds:g} and RELAY_GRACE_SECONDS, which is "
                f"{self.relay_grace_seconds:g}, make {stop:g}; together they may be {MAX_STOP_SECONDS:g} at most"
            )
        if complaints:
            raise ValueError("\n".join(complaints))
        return self

    def _certificates(self) -> Iterator[str]:
        if not self.relay_certificate_secrets and not (self.relay_certificate_file and self.relay_private_key_file):
            yield (
                "RELAY_CERTIFICATE_FILE, RELAY_PRIVATE_KEY_FILE: name both files, "
                "or the secrets that hold certificates in RELAY_CERTIFICATE_SECRETS"
            )
        if self.relay_client_ca_file and self.relay_client_ca_secret:
            yield "RELAY_CLIENT_CA_SECRET: not together with RELAY_CLIENT_CA_FILE"
        if self.relay_client_ca_secret and not self.relay_certificate_secrets:
            yield "RELAY_CLIENT_CA_SECRET: only together with RELAY_CERTIFICATE_SECRETS"


def _is_address(text: str) -> bool:
    try:
        return bool(parse_mailbox(text))
    except Refused:
        return False
