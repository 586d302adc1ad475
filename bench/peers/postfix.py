"""Postfix as a peer of the relay: it accepts messages into a queue in a temporary folder and holds them there."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.peers import start
from bench.relay_messages import Door

# What it needs to run beside another Postfix, to hold what it takes, and to take it without the pauses that it makes
# where more comes in than goes out. Were anything released after all, it would be discarded.
_MAIN = """\
compatibility_level = 2
myhostname = peer.test
queue_directory = {folder}/queue
data_directory = {folder}/data
maillog_file = {folder}/maillog
maillog_file_prefixes = {folder}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
mydestination =
alias_maps =
alias_database =
local_recipient_maps =
default_transport = discard:
relay_transport = discard:
smtpd_client_restrictions = check_client_access static:HOLD
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_tls_cert_file = {folder}/server.pem
smtpd_tls_key_file = {folder}/server.key
in_flow_delay = 0
"""
_MASTER = """\
127.0.0.1:{plain} inet n - n - - smtpd
127.0.0.1:{tls} inet n - n - - smtpd
  -o smtpd_tls_wrappermode=yes
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
proxymap unix - - n - - proxymap
error unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
postlog unix-dgram n - n - 1 postlogd
"""


@contextmanager
def _running(program: str, relay: Door) -> Iterator[Door]:
    start.require_root()
    owner = start.answer(str(Path(program).with_name("postconf")), "-d", "-h", "mail_owner")
    plain, tls = start.free_ports(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Its processes find their sockets and their queue as a user of their own.
        folder.chmod(0o755)
        for file in ("server.pem", "server.key"):
            shutil.copy(Path(relay.ca).parent / file, folder)
        (folder / "queue").mkdir()
        (folder / "data").mkdir()
        shutil.chown(folder / "data", owner)
        for file, text in (("main.cf", _MAIN), ("master.cf", _MASTER)):
            (folder / file).write_text(text.format(folder=folder, plain=plain, tls=tls), "ascii")
        with start.served(folder, (program, "-c", name, "start-fg"), plain) as pid:
            yield replace(relay, pid=pid, ports={"none": plain, "implicit": tls}, sign_in="")


POSTFIX = start.Peer("Postfix", ("postfix",), "without AUTH, for which it would need another server", _running)
