import hashlib
import sys
from email import policy
from email.parser import BytesParser
from pathlib import Path

import pytest

from tests.client.postbox import Postbox, client, inside, to

PLAIN = ("--tls", "none")


@pytest.mark.requirement("CLIENT-001")
@pytest.mark.requirement("CLIENT-009")
def test_the_installed_command_explains_itself() -> None:
    done = client("--help")
    assert done.code == 0
    for text in ("send", "batch", "exit codes", "SMTP_CLIENT_PASSWORD"):
        assert text in done.out
    assert Path(sys.executable).with_name("smtp-client").exists()


def test_text_html_and_attachments_arrive_as_they_were(plain: Postbox, tmp_path: Path) -> None:
    file = tmp_path / 'Bericht "März".bin'
    file.write_bytes(bytes(range(256)) * 20)
    done = inside(
        "send",
        *to(plain.port, *PLAIN, "--subject", "Grüße, " * 20, "--text", "Füße\n.\n..x\n", "--html", "<p>Füße</p>"),
        *("--attach", str(file), "--header", 'Reply-To: "Jürgen, der" <j@example.com>', "--header", "X-Ref: 1"),
    )
    assert done.code == 0, done.err
    message = BytesParser(policy=policy.default).parsebytes(plain.last().content.replace(b"\r\n", b"\n"))
    assert message["Subject"].strip() == ("Grüße, " * 20).strip()
    assert message["X-Ref"] == "1"
    (reply_to,) = message["Reply-To"].addresses
    assert (reply_to.display_name, reply_to.addr_spec) == ("Jürgen, der", "j@example.com")
    text, html, attached = (part for part in message.walk() if not part.is_multipart())
    assert text.get_content() == "Füße\n.\n..x\n"
    assert html.get_content() == "<p>Füße</p>\n"
    assert attached.get_filename() == file.name
    assert attached.get_content() == file.read_bytes()
    assert max(map(len, plain.last().content.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    "raw",
    [
        b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n...\r\n",
        b"Subject: long\r\n\r\n" + b"." * 990 + b"\r\n" + b"y" * 998 + b"\r\n",
        b"Subject: no newline at the end\r\n\r\nend",
        b"Subject: unix\n\n.one\ntwo\n",
        b"Subject: eight bits\r\n\r\n\xff\xfe \x80 \xc3\xa4\r\n",
    ],
    ids=["dots", "long", "no-newline", "unix", "eight-bit"],
)
def test_raw_bytes_arrive_as_they_are(plain: Postbox, tmp_path: Path, raw: bytes) -> None:
    file = tmp_path / "message.eml"
    file.write_bytes(raw)
    done = inside("send", *to(plain.port, *PLAIN, "--eml", str(file), "--json"))
    assert done.code == 0, done.err
    expected = raw.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    expected += b"" if expected.endswith(b"\r\n") else b"\r\n"
    assert plain.last().content == expected
    entry = done.document["messages"][0]
    assert entry["sha256"] == hashlib.sha256(expected).hexdigest()
    assert entry["queue_id"] == "msg-1"
    assert ("BODY=8BITMIME" in plain.last().options) is not raw.isascii()


def test_refused_recipients_are_told_one_by_one(plain: Postbox) -> None:
    others = ("--to", "unknown@example.org", "--to", "later@example.org")
    done = inside("send", *to(plain.port, *PLAIN, *others))
    assert done.code == 1
    assert "accepted for you@example.org: 250 2.0.0" in done.out
    assert "2 of 3 recipients refused" in done.err
    assert "unknown@example.org: 550 5.1.1 No such user" in done.err
    assert "later@example.org: 450 4.2.0 Try again later" in done.err
    assert plain.last().recipients == ["you@example.org"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--from", "banned@example.com"), "refused (MAIL FROM): 553 5.7.1 You may not send as this"),
        (("--header", "X-Spam: yes"), "refused (DATA): 554 5.7.1 We do not want this"),
    ],
)
def test_a_refused_message_is_told_with_the_reply(plain: Postbox, words: tuple[str, ...], told: str) -> None:
    done = inside("send", *to(plain.port, *PLAIN, *words))
    assert done.code == 1
    assert told in done.err
    assert not plain.received


def test_international_addresses_use_smtputf8(plain: Postbox) -> None:
    done = inside("send", *to(plain.port, *PLAIN, "--to", "Jürgen <jürgen@exämple.org>", "--size", "2000", "--json"))
    assert done.code == 0, done.err
    assert "SMTPUTF8" in plain.last().options
    assert plain.last().recipients == ["you@example.org", "jürgen@exämple.org"]
    assert len(plain.last().content.partition(b"\r\n\r\n")[2]) == 2000


def test_a_line_break_in_a_header_is_refused() -> None:
    done = inside("send", *to(1, "--subject", "hello\r\nBcc: victim@example.org"))
    assert done.code == 2
    assert "line break" in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--to", "nobody"), "'nobody' is not an e-mail address"),
        (("--header", "no colon"), "expected 'Name: value'"),
        (("--header", "Content-Type: text/html"), "smtp-client writes it"),
        (("--attach", "/nonexistent"), "/nonexistent: cannot be read"),
        (("--pin", "abc"), "not a SHA-256"),
        (("--password", "x"), "--user is missing"),
        (("--port", "70000"), "not a port"),
        (("--count", "3"), "unrecognized arguments"),
    ],
)
def test_mistakes_of_the_command_line_are_told(words: tuple[str, ...], told: str) -> None:
    done = inside("send", *to(1, *words))
    assert done.code == 2
    assert told in done.err
    assert not done.out


@pytest.mark.requirement("CLIENT-010")
def test_it_stores_nothing_of_what_it_sends(plain: Postbox, tmp_path: Path) -> None:
    """Every attempt of the process to create or change a file is seen by an audit hook."""
    seen = tmp_path / "seen.py"
    seen.write_text(
        "import os, sys\n"
        "sys.dont_write_bytecode = True\n"
        "CHANGING = ('os.mkdir', 'os.rename', 'os.link', 'os.symlink', 'os.truncate', 'shutil.', 'tempfile.')\n"
        "def watch(event, args):\n"
        "    flags = args[2] if event == 'open' and isinstance(args[2], int) else 0\n"
        "    writes = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)\n"
        "    if (writes or event.startswith(CHANGING)) and 'coverage' not in str(args):\n"
        "        os.write(2, f'STORED {event} {args}\\n'.encode())\n"
        "sys.addaudithook(watch)\n"
        "from client.__main__ import run\n"
        "run()\n"
    )
    words = ["batch", *to(plain.port, *PLAIN, "--count", "3", "--json", "--attach", str(seen))]
    done = client(*words, script=seen)
    assert done.code == 0, done.err
    assert len(plain.received) == 3
    assert "STORED" not in done.err
    assert "--save" not in inside("send", "--help").out
    assert [file.name for file in tmp_path.iterdir()] == ["seen.py"]
