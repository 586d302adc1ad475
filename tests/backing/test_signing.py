"""Our signatures, against botocore's."""

from datetime import UTC, datetime
from typing import Any

import hypothesis.strategies as st
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given

from backing.signing import Keys, Post, Signer

WORD = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/=-._", min_size=1, max_size=40)
HOSTS = st.sampled_from(["sqs.eu-central-1.amazonaws.com", "127.0.0.1:4566", "localhost:4566", "vpce-1.sqs.example"])
PATHS = st.sampled_from(["/", "/v2/email/outbound-emails"])
MOMENTS = st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2050, 1, 1)).map(  # noqa: DTZ001 - UTC follows
    lambda moment: moment.replace(tzinfo=UTC)
)
KEYS = st.builds(Keys, WORD, WORD, st.none() | WORD)


def signed_by_botocore(region: str, post: Post, keys: Keys, at: datetime, scheme: str) -> str:
    request = AWSRequest("POST", f"{scheme}://{post.host}{post.path}", headers=dict(post.headers), data=post.body)
    signer: Any = SigV4Auth(Credentials(keys.access_key, keys.secret_key, keys.token), "sqs", region)
    request.context["timestamp"] = at.strftime("%Y%m%dT%H%M%SZ")
    signer._modify_request_before_signing(request)  # noqa: SLF001 - add_auth itself would take the time of now
    text = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(text, request))  # noqa: SLF001 - as above
    return str(request.headers["Authorization"])


@given(region=WORD, host=HOSTS, path=PATHS, body=st.binary(max_size=2000), keys=KEYS, at=MOMENTS)
def test_a_signature_is_the_one_that_botocore_makes(
    region: str, host: str, path: str, body: bytes, keys: Keys, at: datetime
) -> None:
    post = Post(host, {"content-type": "application/x-amz-json-1.0", "x-amz-target": "AmazonSQS.x"}, body, path)
    expected = signed_by_botocore(region, post, keys, at, "http" if ":" in host else "https")
    headers = Signer(region, "sqs").headers(post, keys, at)
    assert headers.pop("authorization") == expected
    token = {"x-amz-security-token": keys.token} if keys.token else {}
    assert headers == {**post.headers, "x-amz-date": at.strftime("%Y%m%dT%H%M%SZ"), **token}


@given(st.lists(st.tuples(KEYS, MOMENTS), min_size=2, max_size=6))
def test_one_signer_signs_with_whatever_keys_on_whatever_day(uses: list[tuple[Keys, datetime]]) -> None:
    signer, post = Signer("eu-central-1", "sqs"), Post("sqs.example", {"x-amz-target": "x"}, b"{}")
    for keys, at in uses:
        assert signer.headers(post, keys, at) == Signer("eu-central-1", "sqs").headers(post, keys, at)


@pytest.mark.parametrize("show", [repr, str])
def test_keys_do_not_show_themselves(show: type[str]) -> None:
    assert show(Keys("AKIA", "hush", "hush")) == "Keys(access_key='AKIA')"
