"""What the relay reads from its environment."""

from pathlib import Path

from pydantic import Field

from backing.settings import CredentialKeySettings, Port, ServiceSettings


class RelaySettings(ServiceSettings, CredentialKeySettings):
    """The relay's own settings beside the shared ones."""

    relay_host: str = Field(default="0.0.0.0", description="Address that the SMTP listeners bind.")  # noqa: S104 - a container listens on its own network interface
    relay_starttls_port: Port = Field(default=2587, description="Submission port, STARTTLS (TLS-002).")
    relay_tls_port: Port = Field(default=2465, description="Submissions port, implicit TLS (TLS-002).")
    relay_hostname: str = Field(default="localhost", description="Name in the greeting, EHLO and Received header.")
    relay_certificate_file: Path = Field(description="PEM file with the server certificate and its chain.")
    relay_private_key_file: Path = Field(description="PEM file with the certificate's private key, mode 0600.")
    relay_max_connections: int = Field(
        default=1000, ge=1, le=10_000, description="Sessions at a time; 421 beyond (CORE-SMTP-005)."
    )
    relay_max_message_bytes: int = Field(
        default=36_700_160, ge=65_536, le=41_943_040, description="Largest message (SIZE), 40 MiB at most."
    )
    relay_max_recipients: int = Field(
        default=1000, ge=100, le=10_000, description="Recipients of one message; RFC 5321 asks for at least 100."
    )
    relay_idle_timeout_seconds: float = Field(
        default=300.0, gt=0, le=3600, description="Silence after which a session ends with 421 (CORE-SMTP-007)."
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
        default=5.0, ge=0, le=60, description="How long the listeners stay open after SIGTERM (SC-10.1)."
    )
    relay_drain_seconds: float = Field(
        default=100.0, gt=0, le=115, description="Hard end of a drain; Fargate kills after 120 s."
    )
