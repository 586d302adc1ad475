"""Secrets fetched at run time, and the envelope that provider secrets are kept in."""

import base64
import os
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from backing.sqs import FAULTS
from mail.errors import Unavailable

if TYPE_CHECKING:
    from types_aiobotocore_kms import KMSClient
    from types_aiobotocore_secretsmanager import SecretsManagerClient

_NONCE = 12
_LENGTH = 2
_FIRST = "smtp-proxy-first-value-of-this-secret"


class BadSecret(Exception):  # noqa: N818 - a fact about a secret
    """A secret is not what it should be; says which one and how, never its value."""


async def credential_key(client: "SecretsManagerClient", secret_id: str) -> bytes:
    """Fetch the key that SMTP credentials are checked with: base64url text of 32 octets or more.

    Raises:
        BadSecret: it is not such a text.
        Unavailable: Secrets Manager did not answer.
    """
    try:
        answer = await client.get_secret_value(SecretId=secret_id)
    except FAULTS as fault:
        raise Unavailable(f"Secrets Manager {secret_id}: {type(fault).__name__}: {fault}") from fault
    text = answer["SecretString"].strip()
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise BadSecret(f"secret {secret_id} is not base64url text") from None


async def put_first(client: "SecretsManagerClient", secret_id: str, text: str) -> bool:
    """Give a secret its first value; False where it has one, which stays, however many try at once.

    Raises:
        BadSecret: there is no such secret.
        Unavailable: Secrets Manager did not answer.
    """
    missing, exists = client.exceptions.ResourceNotFoundException, client.exceptions.ResourceExistsException
    try:
        if await secret_text(client, secret_id) is not None:
            return False
        # A token names a version, and versions never change: of two first values, the later one is refused.
        await client.put_secret_value(SecretId=secret_id, SecretString=text, ClientRequestToken=_FIRST)
    except exists:
        return False
    except missing:
        raise BadSecret(f"there is no secret {secret_id}; make it, without a value, and try again") from None
    except FAULTS as fault:
        raise Unavailable(f"Secrets Manager {secret_id}: {type(fault).__name__}: {fault}") from fault
    return True


async def make_secret(client: "SecretsManagerClient", secret_id: str, key_id: str) -> None:
    """Make a secret without a value, where there is none of its name.

    It is encrypted with a KMS key, or, where none is named, with the account's own for Secrets Manager.

    Raises:
        BadSecret: one of this name is being deleted, or the name cannot be one.
        Unavailable: Secrets Manager did not answer, or does not allow it.
    """
    deleted = client.exceptions.InvalidRequestException, client.exceptions.InvalidParameterException
    try:
        if key_id:
            await client.create_secret(Name=secret_id, KmsKeyId=key_id)
        else:
            await client.create_secret(Name=secret_id)
    except client.exceptions.ResourceExistsException:
        return
    except deleted as fault:
        raise BadSecret(f"secret {secret_id} cannot be made: {str(fault).rstrip('.')}. Choose another name") from None
    except FAULTS as fault:
        raise Unavailable(f"Secrets Manager {secret_id}: {type(fault).__name__}: {fault}") from fault


async def put_secret(client: "SecretsManagerClient", secret_id: str, text: str) -> None:
    """Give a secret another value; the one before is kept as its previous version.

    Raises:
        Unavailable: Secrets Manager did not answer, or does not allow it.
    """
    try:
        await client.put_secret_value(SecretId=secret_id, SecretString=text)
    except FAULTS as fault:
        raise Unavailable(f"Secrets Manager {secret_id}: {type(fault).__name__}: {fault}") from fault


async def secret_text(client: "SecretsManagerClient", secret_id: str) -> str | None:
    """Fetch a secret's value; None where it has none yet, or does not exist.

    Raises:
        Unavailable: Secrets Manager did not answer.
    """
    try:
        return str((await client.get_secret_value(SecretId=secret_id))["SecretString"])
    except client.exceptions.ResourceNotFoundException:
        return None
    except FAULTS as fault:
        raise Unavailable(f"Secrets Manager {secret_id}: {type(fault).__name__}: {fault}") from fault


class Sealed(NamedTuple):
    """A sealed secret, and the ARN of the KMS key under which it is, as KMS names it."""

    octets: bytes
    key: str


class Vault:
    """Envelope encryption under one KMS key: each secret has its own data key, bound to its provider's id.

    What was sealed under another key opens as well, while KMS lets us use that: the encrypted data key says which one.
    A sealed secret is: length of the encrypted data key (2 octets), the encrypted data key, nonce, AES-256-GCM text.
    """

    def __init__(self, client: "KMSClient", key_id: str) -> None:
        self._client = client
        self._key_id = key_id

    async def seal(self, provider: UUID, secret: str) -> Sealed:
        """Encrypt a provider's secret.

        Raises:
            Unavailable: KMS did not answer, or does not allow it.
        """
        context = {"provider": str(provider)}
        try:
            data_key = await self._client.generate_data_key(
                KeyId=self._key_id, KeySpec="AES_256", EncryptionContext=context
            )
        except FAULTS as fault:
            raise Unavailable(f"KMS GenerateDataKey: {type(fault).__name__}: {fault}") from fault
        wrapped, nonce = data_key["CiphertextBlob"], os.urandom(_NONCE)
        sealed = AESGCM(data_key["Plaintext"]).encrypt(nonce, secret.encode(), provider.bytes)
        return Sealed(len(wrapped).to_bytes(_LENGTH, "big") + wrapped + nonce + sealed, data_key["KeyId"])

    async def open(self, provider: UUID, sealed: bytes) -> str:
        """Decrypt a provider's secret.

        Raises:
            BadSecret: the octets are not a secret of this provider.
            Unavailable: KMS did not answer, or does not allow it.
        """
        end = _LENGTH + int.from_bytes(sealed[:_LENGTH], "big")
        wrapped, nonce, text = sealed[_LENGTH:end], sealed[end : end + _NONCE], sealed[end + _NONCE :]
        try:
            # Without KeyId: KMS finds the key by the blob, and IAM says which keys we may use.
            answer = await self._client.decrypt(CiphertextBlob=wrapped, EncryptionContext={"provider": str(provider)})
            return AESGCM(answer["Plaintext"]).decrypt(nonce, text, provider.bytes).decode()
        except InvalidTag:
            raise BadSecret(f"the sealed secret of provider {provider} does not open") from None
        except FAULTS as fault:
            raise Unavailable(f"KMS Decrypt: {type(fault).__name__}: {fault}") from fault
