import pytest
from hypothesis import given
from hypothesis import strategies as st

from mail.alignment import wants_signature


@pytest.mark.parametrize(
    ("fields", "wants"),
    [
        (b"From: a@shop.example\r\n", True),
        (b'fROM : "x, <c@far.example>" (d@far.example) <a@news.shop.example>\r\n', True),
        (b"From: Shop: a@shop.example, b@shop.example;\r\n", True),
        (b"From: a@xn--bcher-kva.shop.example\r\n", True),
        (b"From: a@[192.0.2.1]\r\n", False),
        (b"From: a@shop.example.far.example\r\n", False),
        (b"Sender: a@shop.example\r\n", False),
        (b"", False),
        (b"X: y\r\n\r\nFrom: a@shop.example\r\n", False),
        (b"From: a@shop.example\r\nDKIM-Signature: v=1; d=shop.example\r\n", False),
        (b"DKIM-Signature: d=far.example\r\nDKIM-Signature: d=shop.example;\r\nFrom: a@shop.example\r\n", False),
        (b"From: a@shop.example\r\n\r\nDKIM-Signature: v=1; d=shop.example\r\n", True),
    ],
)
def test_what_a_domain_signs(fields: bytes, *, wants: bool) -> None:
    assert wants_signature(fields, "shop.example") is wants


def test_a_domain_is_the_same_in_its_own_letters() -> None:
    message = "From: a@bücher.example\r\n".encode()
    assert wants_signature(message, "xn--bcher-kva.example")
    assert not wants_signature(b"DKIM-Signature: d=xn--bcher-kva.example\r\n" + message, "xn--bcher-kva.example")


@given(
    st.lists(
        st.sampled_from([b"From:", b"DKIM-Signature:", b"d=", b"\r\n", b" ", b"a@", b";", b"<", b'"']) | st.binary()
    )
)
def test_whatever_stands_in_a_header_has_an_answer(pieces: list[bytes]) -> None:
    assert wants_signature(b"From:" + b"".join(pieces), "shop.example") in {True, False}
