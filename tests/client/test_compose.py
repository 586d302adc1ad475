import json
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from client.compose import padded, text_part, with_crlf
from client.errors import UsageError
from client.headers import encoded_words, fold, header, mailbox, split_mailbox
from client.replies import Reply
from client.template import Template, load_rows, parse
from client.tls import parse_pin, pin_text
from tests.client.postbox import Postbox, client, inside, to

TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc"]))
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,10}", fullmatch=True)


@pytest.mark.requirement("CLIENT-011")
def test_a_template_takes_variables_of_each_message(plain: Postbox, tmp_path: Path) -> None:
    template, rows = tmp_path / "letter.txt", tmp_path / "people.jsonl"
    template.write_text(
        "Subject: Order {{ order }} for\n {{name}}\nContent-Type: text/html; charset=utf-8\nX-Run: {{run}}\n\n"
        "<p>Dear {{name}} ({{to}}), this is {{index}}.</p>\n",
        "utf-8",
    )
    people = [
        {"to": "a@example.org", "name": "Änne", "order": 1},
        {"to": "b@example.org", "name": "{{run}}", "order": 2},
    ]
    rows.write_text("\n".join(map(json.dumps, people)))
    words = ["--host", "localhost", "--port", str(plain.port), "--tls", "none", "--from", "Shop <shop@example.com>"]
    done = client(
        "batch", *words, "--template", str(template), "--vars", str(rows), "--var", "run=7", "--concurrency=1"
    )
    assert done.code == 0, done.err
    first, second = (BytesParser(policy=policy.default).parsebytes(item.content) for item in plain.received)
    assert first["Subject"] == "Order 1 for Änne"
    assert first["To"] == "a@example.org"
    assert first["From"] == "Shop <shop@example.com>"
    assert first.get_content_type() == "text/html"
    assert first.get_content().replace("\r\n", "\n") == "<p>Dear Änne (a@example.org), this is 1.</p>\n"
    assert (second["X-Run"], second["Subject"]) == ("7", "Order 2 for {{run}}")


@pytest.mark.requirement("CLIENT-011")
def test_an_unknown_variable_is_told_with_file_and_line(tmp_path: Path) -> None:
    template = tmp_path / "letter.txt"
    template.write_text("Subject: x\n\nHello\n{{nmae}}\n")
    done = inside("batch", *to(1, "--template", str(template), "--var", "name=x"))
    assert done.code == 2
    assert f"unknown variable 'nmae' in {template}, line 4 (known: date, from, index, name, to, uuid)" in done.err


def test_a_variable_cannot_add_a_header(tmp_path: Path) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text('name\n"x\nBcc: victim@example.org"\n')
    done = inside("batch", *to(1, "--subject", "{{name}}", "--vars", str(rows)))
    assert done.code == 2
    assert "header Subject: its value holds a line break" in done.err


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("a,b\n1\n", "line 2: the heading has 2 columns"),
        ("a\n", "holds no row"),
        ('{"a": 1}\n{"a": [1]}\n', "line 2: expected one flat JSON object"),
        ('{"a": 1}\n{"a"\n', "line 2: not JSON"),
    ],
)
def test_mistakes_in_rows_are_told_with_their_line(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "rows"
    file.write_text(content)
    with pytest.raises(UsageError, match=told):
        load_rows(file)


def test_a_template_needs_header_lines() -> None:
    with pytest.raises(UsageError, match=r"letter\.txt, line 2: expected 'Name: value'"):
        parse("letter.txt", "Subject: x\nhello\n\nbody")


@given(st.lists(st.one_of(TEXT.map(lambda text: text.replace("{{", "")), NAMES.map(lambda name: f"{{{{{name}}}}}"))))
def test_rendering_replaces_variables_and_nothing_else(pieces: list[str]) -> None:
    names = {piece[2:-2] for piece in pieces if piece.startswith("{{")}
    values = {name: f"<{name}>" for name in names}
    expected = "".join(f"<{piece[2:-2]}>" if piece.startswith("{{") else piece for piece in pieces)
    if "{{{" not in "".join(pieces):
        assert Template("test", "".join(pieces)).render(values) == expected


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)).map(lambda text: text.strip()))
def test_folding_changes_nothing(value: str) -> None:
    folded = fold("X-Test", value)
    assert folded.replace("\r\n", "") == f"X-Test: {value}".rstrip()
    assert all(line.strip() for line in folded.removesuffix("\r\n").split("\r\n"))


@given(TEXT.filter(lambda text: text.strip() == text and not text.isascii()))
def test_encoded_words_are_short_and_mean_the_text(text: str) -> None:
    assert all(len(word) <= 75 for word in encoded_words(text, used=9).split(" "))
    written = header("Subject", text)
    assert written.isascii()
    parsed = BytesParser(policy=policy.default).parsebytes(written + b"\r\n")["Subject"]
    assert "".join(str(parsed).split()) == "".join(text.split())


@given(TEXT)
def test_a_display_name_stays_a_name(name: str) -> None:
    written = header("To", mailbox(name.strip(), "a@example.org"))
    parsed = BytesParser(policy=policy.default).parsebytes(written + b"\r\n")["To"]
    assert [address.addr_spec for address in parsed.addresses] == ["a@example.org"]


@pytest.mark.parametrize("text", ["a b@c.d", "a@b>c", "a@b@c", "a@b.c, d@e.f", "@x", "a@", "a@b\nc", "N <a@b\n>"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="not an e-mail address"):
        split_mailbox(text)


@given(st.binary(), st.integers(min_value=1, max_value=400))
def test_padding_is_exact(content: bytes, size: int) -> None:
    body = with_crlf(content)
    result = padded(body, size)
    assert len(result) == max(size, len(body))
    assert with_crlf(result) == result


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")))
def test_a_text_survives_every_encoding(text: str) -> None:
    for eight_bit in (True, False):
        part = text_part(text * 30, "text/plain; charset=utf-8", eight_bit=eight_bit)
        message = BytesParser(policy=policy.default).parsebytes(bytes(part))
        payload = message.get_payload(decode=True)
        assert isinstance(payload, bytes)
        assert (
            payload.replace(b"\r\n", b"\n").decode() == with_crlf((text * 30).encode()).replace(b"\r\n", b"\n").decode()
        )
        assert eight_bit or part.body.isascii()


@settings(max_examples=4, deadline=None)
@given(st.lists(st.binary(max_size=200).map(lambda data: b"." + data), min_size=5))
def test_any_bytes_arrive_exactly(shared_box: Postbox, shared_folder: Path, lines: list[bytes]) -> None:
    file = shared_folder / "any.eml"
    file.write_bytes(b"Subject: any\r\n\r\n" + b"\n".join(lines).replace(b"\x00", b"."))
    done = inside("send", *to(shared_box.port, "--tls", "none", "--eml", str(file)))
    assert done.code == 0, done.err
    assert shared_box.last().content == with_crlf(file.read_bytes())


def test_replies_are_read_with_their_codes() -> None:
    reply = Reply.of(250, "2.0.0 OK: queued as <abc.1>.\x1b[31m")
    assert (reply.enhanced, reply.queue_id) == ("2.0.0", "abc.1")
    assert "\x1b" not in str(reply)
    assert Reply.of(250, "fine").queue_id is None


@given(st.binary(min_size=32, max_size=32))
def test_a_pin_is_read_in_every_writing(pin: bytes) -> None:
    for text in (pin.hex(), pin.hex(":").upper(), pin_text(pin), pin_text(pin).removeprefix("sha256//")):
        assert parse_pin(text) == pin
