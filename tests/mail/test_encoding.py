"""Messages made fit for peers that take neither octets above 127 nor long lines."""

import base64
import email
import quopri
from collections.abc import Iterator
from email.message import Message

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mail.encoding import MAX_DEPTH, MAX_PARTS, long_lines, needs_seven_bit, seven_bit
from mail.transfer import again_base64, base64_lines, quoted_printable


def contents(message: bytes) -> list[tuple[str, bytes | None]]:
    """Type and decoded content of every leaf, as the standard library reads it."""
    return [(part.get_content_type(), decoded(part)) for part in leaves(email.message_from_bytes(message))]


def leaves(message: Message) -> Iterator[Message]:
    return (part for part in message.walk() if not part.is_multipart())


def decoded(part: Message) -> bytes | None:
    payload = part.get_payload(decode=True)
    assert payload is None or isinstance(payload, bytes)
    return payload


def longest(message: bytes) -> int:
    return max(len(line.removesuffix(b"\r")) for line in message.split(b"\n"))


def text(content: bytes, *fields: bytes) -> bytes:
    return (
        b"".join(field + b"\r\n" for field in (b"Content-Type: text/plain; charset=utf-8", *fields)) + b"\r\n" + content
    )


def multipart(*parts: bytes, kind: bytes = b"mixed", boundary: bytes = b"b", fields: bytes = b"") -> bytes:
    head = b'Content-Type: multipart/%s; boundary="%s"\r\n%s\r\n' % (kind, boundary, fields)
    return head + b"".join(b"--%s\r\n%s\r\n" % (boundary, part) for part in parts) + b"--%s--\r\n" % boundary


UMLAUT = "ä".encode()
LONG = b"x" * 999


def test_a_text_becomes_quoted_printable_and_nothing_else_changes() -> None:
    message = (
        b"From: \xc3\xa4 <a@b>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain;\r\n\tcharset=utf-8\r\n"
        b"content-transfer-encoding:\r\n 8BIT (all of them)\r\n"
        b"Subject: s\r\n"
        b"\r\n"
        b"Gr\xc3\xbc\xc3\x9fe \r\n.\r\n= " + LONG + b"\r\n"
    )
    assert seven_bit(message) == (
        b"From: \xc3\xa4 <a@b>\r\n"
        b"MIME-Version: 1.0\r\n"
        b"Content-Type: text/plain;\r\n\tcharset=utf-8\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n"
        b"Subject: s\r\n"
        b"\r\n"
        b"Gr=C3=BC=C3=9Fe=20\r\n=2E\r\n=3D "
        + b"x" * 71
        + b"=\r\n"
        + b"".join(b"x" * 75 + b"=\r\n" for _ in range(12))
        + b"x" * 28
        + b"\r\n"
    )


def test_only_the_parts_that_need_it_and_what_is_around_them_change() -> None:
    clean = text(b"clean\r\n", b"Content-Transfer-Encoding: 8bit")
    image = b"Content-Type: image/png\r\n\r\n\x89PNG\r\n\xff"
    inner = multipart(
        text(UMLAUT), clean, kind=b"alternative", boundary=b"inner", fields=b"Content-Transfer-Encoding: 8bit\r\n"
    )
    message = multipart(inner, image, clean, fields=b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: binary\r\n")
    assert seven_bit(message) == multipart(
        multipart(
            text(b"=C3=A4", b"Content-Transfer-Encoding: quoted-printable"),
            clean,
            kind=b"alternative",
            boundary=b"inner",
            fields=b"Content-Transfer-Encoding: 7bit\r\n",
        ),
        b"Content-Type: image/png\r\nContent-Transfer-Encoding: base64\r\n\r\niVBORw0K/w==",
        clean,
        fields=b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: 7bit\r\n",
    )


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"Subject: no body\r\n",
        b"Subject: \xff raw\r\nX: " + LONG + b"\r\n\r\nclean\r\n",
        text(b"x" * 998 + b"\r\n" + b"x" * 998 + b"\r\nx"),
        text(b"x" * 998 + b"\n" + b"x" * 998),
        multipart(text(b"a"), b"broken", kind=b"signed"),
        b"Content-Type: message/rfc822\r\n\r\nSubject: \xff\r\n\r\nclean\r\n",
        multipart(b"Content-Type: image/png; name=\xff\r\n\r\nclean"),
    ],
)
def test_a_message_that_needs_nothing_comes_back_itself(message: bytes) -> None:
    assert seven_bit(message) is message


@pytest.mark.parametrize(
    "message",
    [
        multipart(text(UMLAUT), b"Content-Type: application/pgp-signature\r\n\r\nsig", kind=b"signed"),
        multipart(multipart(text(LONG), text(b"sig"), kind=b"signed", boundary=b"i"), text(b"a")),
        b"DKIM-Signature: v=1; d=shop.example\r\n" + text(UMLAUT),
        b"From: a@b\r\ndkim-signature : v=1\r\n" + multipart(text(LONG)),
    ],
)
def test_what_is_signed_is_never_changed(message: bytes) -> None:
    assert seven_bit(message) is None


def test_an_encrypted_or_signed_blob_keeps_its_content() -> None:
    blob = b"MIME-Version: 1.0\r\nContent-Type: application/pkcs7-mime; smime-type=signed-data\r\n\r\n\x30\x82\r\n"
    assert seven_bit(blob) == blob.replace(
        b"\r\n\r\n\x30\x82\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\nMIINCg==\r\n"
    )


@pytest.mark.parametrize(
    "message",
    [
        b"Content-Type: multipart/mixed\r\n\r\n" + UMLAUT,
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--y\r\n\r\n" + UMLAUT,
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + UMLAUT + b"\r\n--x\r\n\r\na\r\n--x--\r\n",
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n\r\na\r\n--x--\r\n" + UMLAUT,
        b"Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\n--x\r\n\r\n\xff",
        b"Content-Type: multipart/mixed; boundary=\xff\r\n\r\n--\xff\r\n\r\na\r\n--\xff--\r\n",
        b"Content-Type: text/plain\r\nContent-type: text/html\r\n\r\n" + UMLAUT,
        b"Content-Transfer-Encoding: 8bit\r\nContent-Transfer-Encoding: base64\r\n\r\n" + UMLAUT,
        b"Content-Type: message/partial\r\n\r\nA: b\r\n\r\n" + UMLAUT,
        b"Content-Transfer-Encoding: x-uuencode\r\n\r\n" + UMLAUT,
        b"this is no header\r\nSubject: a\r\n\r\n" + UMLAUT,
        b"Subject: a\r\nthis is no header\r\n\r\n" + UMLAUT,
    ],
)
def test_what_cannot_be_read_for_certain_is_not_changed(message: bytes) -> None:
    assert seven_bit(message) is None


def test_octets_of_no_charset_are_said_to_be_of_none() -> None:
    assert seven_bit(b"Subject: a\r\n\r\n\xe4\r\n") == (
        b"Subject: a\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=unknown-8bit\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=E4\r\n"
    )
    assert seven_bit(b"\r\n" + LONG) == (
        b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n"
        b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + quoted_printable(LONG)
    )


def test_base64_on_one_line_is_broken_into_lines() -> None:
    content = bytes(range(256)) * 8
    message = b"Content-Type: a/b\r\nContent-Transfer-Encoding: BASE64\r\n\r\n" + base64.b64encode(content) + b"\r\n"
    again = seven_bit(message)
    assert again is not None
    assert contents(again) == [("a/b", content)]
    assert max(map(len, again.split(b"\r\n"))) == 76


def test_a_report_with_addresses_outside_ascii_can_be_encoded() -> None:
    message = multipart(
        b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n\r\nA: \xc3\xa4",
        b"Content-Type: message/global\r\n\r\nSubject: \xc3\xa4\r\n\r\n",
        kind=b"report",
    )
    assert seven_bit(message) == multipart(
        b"Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nA: =C3=A4",
        b"Content-Type: message/global\r\nContent-Transfer-Encoding: base64\r\n\r\nU3ViamVjdDogw6QNCg0K",
        kind=b"report",
    )


def test_in_a_digest_parts_are_messages() -> None:
    message = multipart(b"\r\nSubject: a\r\n\r\n" + UMLAUT, kind=b"digest")
    again = seven_bit(message)
    assert again is not None
    assert contents(again) == contents(message) == [("text/plain", UMLAUT)]


def nested(depth: int) -> bytes:
    message = text(UMLAUT)
    for level in range(depth):
        message = multipart(message, boundary=b"b%d" % level)
    return message


def test_depth_and_number_of_parts_have_limits() -> None:
    assert seven_bit(nested(MAX_DEPTH)) is not None
    assert seven_bit(nested(MAX_DEPTH + 1)) is None
    assert seven_bit(multipart(*[text(UMLAUT)] * (MAX_PARTS - 1))) is not None
    assert seven_bit(multipart(*[text(UMLAUT)] * MAX_PARTS)) is None


@pytest.mark.parametrize(
    "hostile",
    [
        b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + b"--xy\r\n" * 100_000 + UMLAUT,
        b"Content-Type: multipart/mixed" + b"; \t" * 100_000 + b"\r\n\r\n" + UMLAUT,
        b"Content-Type: multipart/mixed;" + b" " * 300_000 + b"\r\n\r\n" + UMLAUT,
        b"Content-Type: multipart/mixed" + b';a="\\"' * 50_000 + b"\r\n\r\n" + UMLAUT,
        b"Content-Type: multipart/mixed;" + b"a" * 300_000 + b"\r\n\r\n" + UMLAUT,
        b"Content-Transfer-Encoding: x-" + b"(" * 300_000 + b"\r\n\r\n" + UMLAUT,
        b"x" * 300_000 + b"\r\n\r\n" + UMLAUT,
    ],
)
def test_hostile_messages_are_given_up_in_linear_time(hostile: bytes) -> None:
    assert seven_bit(hostile) is None


def test_what_lines_are_long_and_what_bodies_wide() -> None:
    fitting = b"\r\n\r\n" + b"x" * 998 + b"\r\n" + b"y" * 998
    assert not long_lines(fitting)
    assert long_lines(fitting + b"y")
    assert long_lines(fitting.replace(b"x\r\n", b"x\r"))
    assert long_lines(b"\r\n" + b"x" * 998 + b"\ry")
    assert not needs_seven_bit(b"Subject: \xff\r\n\r\na")
    assert needs_seven_bit(b"Subject: a\r\n\r\n\xff")


CONTENTS = st.lists(
    st.one_of(
        st.binary(max_size=20),
        st.sampled_from(
            [UMLAUT * 3, LONG, b"--b", b"--b0", b" --b1--", b"", b".", b"a ", b"\t", b"=", b"a\rb", b"a\nb", b"\0\xff"]
        ),
    ),
    max_size=5,
).map(b"\r\n".join)
TYPES = st.sampled_from(
    [
        b"",
        b"Content-Type: text/html\r\n",
        b"Content-Type: Image/PNG; name=x\r\n",
        b"Content-Type:\r\n application/pdf\r\n",
    ]
)


@st.composite
def leaf(draw: st.DrawFn) -> bytes:
    content = draw(CONTENTS)
    fields = draw(TYPES) + b"X-Other: 1\r\n"
    match draw(st.sampled_from(["", "7bit", "8bit", "binary", "base64", "quoted-printable"])):
        case "base64":
            return fields + b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(content)
        case "quoted-printable":
            return (
                fields
                + b"Content-Transfer-Encoding: Quoted-Printable\r\n\r\n"
                + quopri.encodestring(content).replace(b"=\n", b"=\r\n")
            )
        case "":
            return fields + b"\r\n" + content
        case encoding:
            return b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n" + fields + b"\r\n" + content


@st.composite
def tree(draw: st.DrawFn, depth: int = 0) -> bytes:
    kind = draw(st.sampled_from(["leaf", "multipart", "multipart", "message"])) if depth < 4 else "leaf"
    if kind == "leaf":
        return draw(leaf())
    wide = draw(st.sampled_from([b"", b"Content-Transfer-Encoding: 8bit\r\n"]))
    if kind == "message":
        return b"Content-Type: message/rfc822\r\n" + wide + b"\r\n" + draw(tree(depth + 1))
    parts = [draw(tree(depth + 1)) for _ in range(draw(st.integers(1, 3)))]
    return multipart(*parts, boundary=b"outer%d" % depth, fields=wide)


@given(tree())
@example(multipart(text(b"\xff\r"), boundary=b"outer0"))
@example(multipart(b"\r\n\xff", boundary=b"outer0"))
def test_every_leaf_keeps_its_content_and_the_result_fits(message: bytes) -> None:
    again = seven_bit(message)
    assert again is not None
    assert contents(again) == contents(message)
    assert again.isascii()
    assert longest(again) <= 998
    assert (again is message) == (message.isascii() and longest(message) <= 998)
    assert seven_bit(again) is again


@given(st.binary())
def test_quoted_printable_and_base64_give_back_every_octet(content: bytes) -> None:
    assert quopri.decodestring(quoted_printable(content)) == content
    assert base64.b64decode(base64_lines(content)) == content
    assert base64.b64decode(again_base64(base64.b64encode(content) + b"\xff\r\n -")) == content
    assert max(map(len, quoted_printable(content).split(b"\r\n"))) <= 76


@given(
    st.binary()
    | st.lists(
        st.sampled_from(
            [b"Content-Type: ", b"multipart/x", b"; boundary=b", b"--b", b"--", b"\r\n", b"\xff", b":", b'"']
        )
    ).map(b"".join)
)
def test_no_octets_make_it_fail(octets: bytes) -> None:
    again = seven_bit(octets)
    assert again is None or seven_bit(again) is again
