"""The job: everything the worker needs to deliver one accepted message, as it travels on the queue.

The relay writes it, the worker reads it, and both may be of different releases for a while: the version says what a
reader must know, unknown fields are ignored, absent ones have defaults.
"""

import binascii
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, Final, NamedTuple
from uuid import UUID

import orjson
import pybase64

from mail.errors import MalformedJob, UnknownJobVersion
from mail.ids import text_of

VERSION = 1
# SQS takes 1 MiB for a message and for a batch; base64 adds a third, and the envelope needs room.
MAX_INLINE_BODY = 700_000


class Recipient(NamedTuple):
    """One envelope recipient with its delivery status wishes (RFC 3461), in the client's own spelling."""

    address: str
    notify: str | None = None
    orcpt: str | None = None


@dataclass(frozen=True, slots=True)
class StoredBody:
    """Where a body lies that does not ride on the queue."""

    bucket: str
    key: str


class Job(NamedTuple):
    """One accepted message; a tuple, since a frozen dataclass of so many fields takes three times as long to make.

    Attributes:
        id: names the message everywhere; the client got it in the 250.
        session: correlation id of the SMTP session (CORE-SMTP-008).
        mail_from: the reverse path, empty for the null sender.
        dedupe: key under which a second submission of the same message is recognised, 32 octets, or None.
        sha256: digest of the content as the client sent it, completed by a CRLF if it had none at its end.
        size: length of the body in octets, as it is to be delivered.
        smtputf8: whether the envelope or headers need SMTPUTF8 on the way out (RFC 6531).
        eight_bit: whether the client declared BODY=8BITMIME or the body has octets above 127 (RFC 6152).
        ret: RET of the envelope, FULL or HDRS, or None.  envid: ENVID, or None (RFC 3461).
        require_tls: whether the client asked for REQUIRETLS (RFC 8689).
        stream: the kind of mail it says it is, tags: its other marks; the relay tells them of a stored body only,
            since the worker can read them in any other.
        head: octets of our Received header, which the body begins with and the digest leaves out.
        body: the message itself, or where it lies.
    """

    id: UUID
    account_id: UUID
    credential_id: UUID | None
    session: str
    mail_from: str
    recipients: tuple[Recipient, ...]
    accepted_at: datetime
    dedupe: bytes | None
    header_message_id: str | None
    sha256: bytes
    size: int
    body: bytes | StoredBody
    head: int = 0
    smtputf8: bool = False
    eight_bit: bool = False
    ret: str | None = None
    envid: str | None = None
    require_tls: bool = False
    stream: str = ""
    tags: tuple[str, ...] = ()

    @property
    def inline(self) -> bool:
        """Whether the body rides in the job."""
        return isinstance(self.body, bytes)


# A text in which nothing has to be quoted.
_PLAIN: Final = '"%s"'
_PLAIN_OPTIONS: Final = (
    '"smtputf8":false,"eight_bit":false,"ret":null,"envid":null,"require_tls":false,"stream":"","tags":[]'
)
# The last fields of a job that asks for nothing out of the ordinary.
_NO_OPTIONS: Final = tuple(Job._field_defaults.values())[1:]


def encode(job: Job) -> str:
    """Write a job as the text of a queue message, in ASCII.

    Field by field, with the encoder's own function for texts: 5 µs with a body of 4 KB, where `json.dumps` of a
    dictionary takes 27 and looks at each letter of the base64 once more.
    """
    recipients = ",".join([f'{{"address":{_quoted(r.address)},{_wishes(r)}}}' for r in job.recipients])
    return (
        f'{{"v":{VERSION},"id":"{job.id}","account_id":"{text_of(job.account_id.int)}",'
        f'"credential_id":{"null" if job.credential_id is None else _PLAIN % text_of(job.credential_id.int)},'
        f'"session":{_quoted(job.session)},"mail_from":{_quoted(job.mail_from)},"recipients":[{recipients}],'
        f'"accepted_at":"{job.accepted_at.astimezone(UTC).isoformat()}",'
        f'"dedupe":{"null" if job.dedupe is None else _PLAIN % job.dedupe.hex()},'
        f'"header_message_id":{_text(job.header_message_id)},"sha256":"{job.sha256.hex()}","size":{job.size},'
        f'"head":{job.head},{_options(job)},"body":{_body_text(job.body)}}}'
    )


def _wishes(recipient: Recipient) -> str:
    if recipient.notify is recipient.orcpt is None:
        return '"notify":null,"orcpt":null'
    return f'"notify":{_text(recipient.notify)},"orcpt":{_text(recipient.orcpt)}'


def _options(job: Job) -> str:
    """What MAIL may ask for, and seldom does."""
    if job[-len(_NO_OPTIONS) :] == _NO_OPTIONS:
        return _PLAIN_OPTIONS
    return (
        f'"smtputf8":{_flag(job.smtputf8)},"eight_bit":{_flag(job.eight_bit)},'
        f'"ret":{_text(job.ret)},"envid":{_text(job.envid)},"require_tls":{_flag(job.require_tls)},'
        f'"stream":{_quoted(job.stream)},"tags":[{",".join(map(_quoted, job.tags))}]'
    )


def _text(text: str | None) -> str:
    return "null" if text is None else _quoted(text)


def _flag(flag: bool) -> str:  # noqa: FBT001 - a value, not a switch
    return "true" if flag else "false"


def _body_text(body: bytes | StoredBody) -> str:
    if isinstance(body, bytes):
        return f'{{"b64":"{pybase64.b64encode_as_string(body)}"}}'
    return f'{{"s3":{{"bucket":{_quoted(body.bucket)},"key":{_quoted(body.key)}}}}}'


def decode(text: str) -> Job:
    """Read a job from the text of a queue message.

    Raises:
        UnknownJobVersion: the job is of a newer version; leave it on the queue.
        MalformedJob: it can never be read; says which field is wrong.
    """
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError:
        document = _leniently(text)
    if not isinstance(document, dict):
        raise MalformedJob("not a JSON object")
    version = document.get("v")
    if version != VERSION:
        if isinstance(version, int) and version > VERSION:
            raise UnknownJobVersion(f"version {version}; this worker reads {VERSION}")
        raise MalformedJob(f"version {version!r}")
    try:
        return _from_dict(document)
    except KeyError as error:
        raise MalformedJob(f"field {error.args[0]!r} is missing") from None
    except (TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise MalformedJob(f"a field has a wrong value: {error}") from None


def _leniently(text: str) -> Any:
    """Read what the stricter reader does not: text that is no Unicode, written as escapes."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise MalformedJob(f"not JSON: {error}") from None


def _from_dict(document: dict[str, Any]) -> Job:
    dedupe, credential = document["dedupe"], document["credential_id"]
    recipients = tuple(Recipient(str(r["address"]), r.get("notify"), r.get("orcpt")) for r in document["recipients"])
    if not recipients:
        raise ValueError("recipients is empty")
    return Job(
        id=UUID(document["id"]),
        account_id=UUID(document["account_id"]),
        credential_id=UUID(credential) if credential else None,
        session=str(document["session"]),
        mail_from=str(document["mail_from"]),
        recipients=recipients,
        accepted_at=datetime.fromisoformat(document["accepted_at"]),
        dedupe=bytes.fromhex(dedupe) if dedupe else None,
        header_message_id=document.get("header_message_id"),
        sha256=bytes.fromhex(document["sha256"]),
        size=int(document["size"]),
        head=int(document.get("head", 0)),
        smtputf8=bool(document.get("smtputf8", False)),
        eight_bit=bool(document.get("eight_bit", False)),
        ret=document.get("ret"),
        envid=document.get("envid"),
        require_tls=bool(document.get("require_tls", False)),
        stream=str(document.get("stream", "")),
        tags=tuple(map(str, document.get("tags", ()))),
        body=_body(document["body"]),
    )


def _body(document: dict[str, Any]) -> bytes | StoredBody:
    if "s3" in document:
        return StoredBody(bucket=str(document["s3"]["bucket"]), key=str(document["s3"]["key"]))
    return pybase64.b64decode(document["b64"], validate=True)
