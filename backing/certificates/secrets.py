"""Certificates, and what goes with them, in Secrets Manager: each change is a version, the one before is kept."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from botocore.exceptions import ClientError

from backing.sqs import FAULTS
from mail.errors import Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_secretsmanager import SecretsManagerClient

Stage = Literal["AWSCURRENT", "AWSPREVIOUS"]
_NONE: Final = "ResourceNotFoundException"


@dataclass(frozen=True, slots=True)
class Version:
    """A text as it was at a time."""

    id: str
    text: str


class Secret:
    """One text in Secrets Manager.

    Args:
        client: of the secret's region.
        secret_id: its name or ARN.
    """

    def __init__(self, client: "SecretsManagerClient", secret_id: str) -> None:
        self._client = client
        self.id = secret_id

    async def version(self, stage: Stage = "AWSCURRENT") -> Version | None:
        """Fetch it (`secretsmanager:GetSecretValue`); None where there is no such secret, or nothing in it yet.

        Raises:
            Unavailable: Secrets Manager did not answer as it should, or does not let us.
        """
        try:
            answer = await self._client.get_secret_value(SecretId=self.id, VersionStage=stage)
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") == _NONE:
                return None
            raise Unavailable(f"Secrets Manager GetSecretValue {self.id}: {error}") from error
        except FAULTS as fault:
            raise Unavailable(f"Secrets Manager GetSecretValue {self.id}: {type(fault).__name__}: {fault}") from fault
        return Version(answer["VersionId"], answer.get("SecretString", ""))

    async def read(self) -> str | None:
        """Fetch its text; raises as `version`."""
        found = await self.version()
        return found.text if found else None

    async def write(self, text: str) -> None:
        """Make a text the current version (`secretsmanager:PutSecretValue`); what was current becomes the previous one.

        Raises:
            Unavailable: Secrets Manager did not answer as it should, or does not let us.
        """
        try:
            await self._client.put_secret_value(SecretId=self.id, SecretString=text)
        except FAULTS as fault:
            raise Unavailable(f"Secrets Manager PutSecretValue {self.id}: {type(fault).__name__}: {fault}") from fault
