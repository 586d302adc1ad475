"""Sealing a secret anew: under another data key, and under the KMS key that is configured now."""

from uuid import UUID

from backing.postgres.inquiries import EndpointSecrets, Inquiries, Inquiry
from backing.postgres.routing import ProviderRow
from backing.secrets import BadSecret, Sealed, Vault
from mail.errors import Unavailable
from mail.inquiries import InquiryState, Verdict

_DONE = "It is sealed under a new data key, by the KMS key {key}."
_OVERTAKEN = "Another secret was set meanwhile, which stays."
_NONE = "There is no secret."
_FAILED = "{fault}. Nothing was changed. See that workers may use both the old key and the new one, then ask again."
_BROKEN = "{fault}. Nothing was changed. Give it its secret again."


async def resealed(inquiry: Inquiry, inquiries: Inquiries, vault: Vault) -> Verdict:
    """Do it; what was sealed is replaced only where it is still what was read.

    Raises:
        Unavailable: the database did not answer; it can be done again.
    """
    old = inquiry.subject
    first, second = _secrets(old)
    if old is None or first is None:
        return Verdict(state=InquiryState.DONE, words=_NONE)
    try:
        sealed = await _anew(vault, old.id, first)
        previous = await _anew(vault, old.id, second) if second else None
    except BadSecret as fault:
        return Verdict(state=InquiryState.FAILED, words=_BROKEN.format(fault=fault))
    except Unavailable as fault:
        return Verdict(state=InquiryState.FAILED, words=_FAILED.format(fault=fault))
    if isinstance(old, EndpointSecrets):
        done = await inquiries.put_endpoint_secrets(inquiry, old, sealed, previous)
    else:
        done = await inquiries.put_provider_secret(inquiry, first, sealed)
    return Verdict(state=InquiryState.DONE, words=_DONE.format(key=sealed.key) if done else _OVERTAKEN)


def _secrets(subject: ProviderRow | EndpointSecrets | None) -> tuple[bytes | None, bytes | None]:
    if isinstance(subject, EndpointSecrets):
        return subject.secret, subject.previous
    return (subject.secret if subject else None), None


async def _anew(vault: Vault, owner: UUID, sealed: bytes) -> Sealed:
    return await vault.seal(owner, await vault.open(owner, sealed))
