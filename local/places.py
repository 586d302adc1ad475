"""Where things lie: one folder holds all of a stack."""

from dataclasses import dataclass
from pathlib import Path

from local.settings import ROOT


@dataclass(frozen=True, slots=True)
class Places:
    """The layout of a stack's state folder."""

    state: Path

    @property
    def env_file(self) -> Path:
        """The .env that overrides the doors' settings: the checkout's for the normal stack, else the folder's own."""
        return ROOT / ".env" if self.state == ROOT / ".local" else self.state / ".env"

    @property
    def secrets(self) -> Path:
        """Generated passwords and keys, 0700."""
        return self.state / "secrets"

    @property
    def certificates(self) -> Path:
        """The development CA and the server certificate."""
        return self.state / "certs"

    @property
    def log(self) -> Path:
        """One log file per part."""
        return self.state / "log"

    @property
    def mail(self) -> Path:
        """The Maildir that the sink writes."""
        return self.state / "mail"

    @property
    def pgpass(self) -> Path:
        """PostgreSQL's password file."""
        return self.secrets / "pgpass"

    @property
    def aws_credentials(self) -> Path:
        """Throw-away credentials for the local AWS APIs."""
        return self.secrets / "aws-credentials"

    @property
    def stack_file(self) -> Path:
        """What runs, where, and how it is."""
        return self.state / "stack.json"

    def create(self) -> None:
        """Make the folders; those with secrets are closed to others."""
        self.state.mkdir(parents=True, exist_ok=True)
        for private in (self.secrets, self.certificates, self.mail, self.state / "aws", self.state / "valkey"):
            private.mkdir(mode=0o700, exist_ok=True)
            private.chmod(0o700)
        self.log.mkdir(exist_ok=True)
