import base64
import dataclasses
import json
from datetime import UTC, datetime
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail.errors import MalformedJob, UnknownJobVersion
from mail.job import Job, Recipient, StoredBody, decode, encode

JOB = Job(
    id=UUID("01890a5d-ac96-774b-bcce-b302099a8057"),
    account_id=UUID("01890a5d-ac96-774b-bcce-b302099a8058"),
    credential_id=UUID("01890a5d-ac96-774b-bcce-b302099a8059"),
    session="ABCDEFGHIJKLMNOP",
    mail_from="ann@example.com",
    recipients=(
        Recipient("bob@example.net", "SUCCESS,FAILURE", "rfc822;Bob+2B@example.net"),
        Recipient("c@example.org"),
    ),
    accepted_at=datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC),
    dedupe=bytes(range(32)),
    header_message_id="<1@example.com>",
    sha256=bytes(32),
    size=10,
    head=3,
    smtputf8=True,
    eight_bit=True,
    ret="HDRS",
    envid="QQ+2B",
    require_tls=True,
    stream="bulk",
    tags=("news", "may"),
    body=b"\x00\xff\r\n.\r\n",
)
GOLDEN = (
    '{"v":1,"id":"01890a5d-ac96-774b-bcce-b302099a8057","account_id":"01890a5d-ac96-774b-bcce-b302099a8058",'
    '"credential_id":"01890a5d-ac96-774b-bcce-b302099a8059","session":"ABCDEFGHIJKLMNOP",'
    '"mail_from":"ann@example.com","recipients":[{"address":"bob@example.net","notify":"SUCCESS,FAILURE",'
    '"orcpt":"rfc822;Bob+2B@example.net"},{"address":"c@example.org","notify":null,"orcpt":null}],'
    '"accepted_at":"2026-11-22T12:00:00.123456+00:00",'
    '"dedupe":"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",'
    '"header_message_id":"<1@example.com>",'
    '"sha256":"0000000000000000000000000000000000000000000000000000000000000000","size":10,"head":3,'
    '"smtputf8":true,"eight_bit":true,"ret":"HDRS","envid":"QQ+2B","require_tls":true,'
    '"stream":"bulk","tags":["news","may"],"body":{"b64":"AP8NCi4NCg=="}}'
)


def test_the_wire_format_of_version_1() -> None:
    assert encode(JOB) == GOLDEN
    assert decode(GOLDEN) == JOB


def test_a_job_of_an_older_relay_asks_for_no_more_than_it_could() -> None:
    document = json.loads(GOLDEN)
    del document["require_tls"], document["head"], document["stream"], document["tags"]
    assert decode(json.dumps(document)) == JOB._replace(require_tls=False, head=0, stream="", tags=())


def test_a_stored_body_travels_as_its_place() -> None:
    job = JOB._replace(body=StoredBody("bucket", "bodies/1"))
    assert json.loads(encode(job))["body"] == {"s3": {"bucket": "bucket", "key": "bodies/1"}}
    assert decode(encode(job)) == job


jobs = st.builds(
    Job,
    id=st.uuids(),
    account_id=st.uuids(),
    credential_id=st.none() | st.uuids(),
    session=st.text(max_size=20),
    mail_from=st.text(max_size=50),
    recipients=st.lists(
        st.builds(Recipient, st.text(max_size=50), st.none() | st.text(max_size=9), st.none() | st.text(max_size=9)),
        min_size=1,
        max_size=5,
    ).map(tuple),
    accepted_at=st.datetimes(timezones=st.just(UTC)),
    dedupe=st.none() | st.binary(min_size=32, max_size=32),
    header_message_id=st.none() | st.text(max_size=50),
    sha256=st.binary(min_size=32, max_size=32),
    size=st.integers(min_value=0),
    head=st.integers(min_value=0),
    smtputf8=st.booleans(),
    eight_bit=st.booleans(),
    ret=st.sampled_from([None, "FULL", "HDRS"]),
    envid=st.none() | st.text(max_size=20),
    require_tls=st.booleans(),
    stream=st.text(max_size=9),
    tags=st.lists(st.text(max_size=9), max_size=3).map(tuple),
    body=st.binary(max_size=500) | st.builds(StoredBody, st.text(max_size=20), st.text(max_size=20)),
)


def as_dict(job: Job) -> dict[str, object]:
    """The wire format, told plainly."""
    body = job.body
    return job._asdict() | {
        "v": 1,
        "id": str(job.id),
        "account_id": str(job.account_id),
        "credential_id": str(job.credential_id) if job.credential_id else None,
        "recipients": [recipient._asdict() for recipient in job.recipients],
        "accepted_at": job.accepted_at.isoformat(),
        "dedupe": job.dedupe.hex() if job.dedupe else None,
        "sha256": job.sha256.hex(),
        "tags": list(job.tags),
        "body": {"b64": base64.b64encode(body).decode()}
        if isinstance(body, bytes)
        else {"s3": dataclasses.asdict(body)},
    }


@given(jobs)
@example(JOB._replace(header_message_id='<"\\\x00\x1f\x7f\u2028\U0001f600>', envid="", credential_id=None))
def test_any_job_survives_the_queue(job: Job) -> None:
    text = encode(job)
    assert decode(text) == job
    assert json.loads(text) == as_dict(job)
    # SQS refuses control characters, and counts octets.
    assert text.isascii()
    assert min(text) >= " "


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("{", MalformedJob, "not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", MalformedJob, "not a JSON object"),
        ("{}", MalformedJob, "version None"),
        ('{"v":"1"}', MalformedJob, "version '1'"),
        ('{"v":2}', UnknownJobVersion, "version 2; this worker reads 1"),
        ('{"v":1}', MalformedJob, "field 'dedupe' is missing"),
        (GOLDEN.replace("01890a5d-ac96-774b-bcce-b302099a8057", "x"), MalformedJob, None),
        (GOLDEN.replace("AP8NCi4NCg==", "!"), MalformedJob, None),
        (GOLDEN.replace('{"b64":"AP8NCi4NCg=="}', "null"), MalformedJob, None),
        (GOLDEN.replace('"size":10', '"size":"many"'), MalformedJob, None),
    ],
)
def test_what_is_no_job_says_so(text: str, error: type[MalformedJob], says: str | None) -> None:
    with pytest.raises(MalformedJob) as malformed:
        decode(text)
    assert type(malformed.value) is error
    assert says is None or str(malformed.value) == says


def test_a_job_without_recipients_is_malformed() -> None:
    document = json.loads(GOLDEN) | {"recipients": []}
    with pytest.raises(MalformedJob, match="recipients is empty"):
        decode(json.dumps(document))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    document = json.loads(GOLDEN)
    for key in document.keys() - {"v"}:
        try:
            decode(json.dumps(document | {key: value}))
        except MalformedJob:
            continue
