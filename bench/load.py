"""A load of messages over STARTTLS with AUTH: `python -m bench.load PORT CA USER PASSWORD_FILE COUNT EACH SIZE`."""

import smtplib
import ssl
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

AT_A_TIME = 16
SENDER, RECIPIENT = "bench@local.example", "someone@example.net"


def message(size: int) -> bytes:
    head = f"Subject: Bench\r\nMessage-ID: <{uuid.uuid1()}@local.example>\r\n\r\n".encode()
    line = b"x" * 76 + b"\r\n"
    return head + line * (max(size - len(head), 0) // len(line))


def session(port: int, context: ssl.SSLContext, user: str, password: str) -> smtplib.SMTP:
    smtp = smtplib.SMTP("localhost", port, timeout=60)
    smtp.starttls(context=context)
    smtp.login(user, password)
    return smtp


def main(arguments: list[str]) -> None:
    port, ca, user, password_file, count, per_connection, size = arguments
    context = ssl.create_default_context(cafile=ca)
    password = Path(password_file).read_text("utf-8").strip()

    def connection(messages: int) -> None:
        with session(int(port), context, user, password) as smtp:
            for _ in range(messages):
                smtp.sendmail(SENDER, [RECIPIENT], message(int(size)))

    with ThreadPoolExecutor(AT_A_TIME) as threads:
        list(threads.map(connection, [int(per_connection)] * (int(count) // int(per_connection))))


if __name__ == "__main__":
    main(sys.argv[1:])
