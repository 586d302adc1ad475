"""Exim as a peer of the relay: it accepts messages into a queue in a temporary folder and delivers none."""

import base64
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.peers import start
from bench.relay_messages import Door

# Beside where it keeps things, only its limits on connections differ from its defaults: they are for fewer at once.
_CONFIGURATION = """\
primary_hostname = peer.test
spool_directory = {folder}/spool
log_file_path = {folder}/%slog
pid_file_path = {folder}/exim.pid
local_interfaces = 127.0.0.1
daemon_smtp_ports = {plain} : {tls}
tls_on_connect_ports = {tls}
tls_certificate = {folder}/server.pem
tls_privatekey = {folder}/server.key
smtp_accept_max = 500
smtp_connect_backlog = 500
queue_only
acl_smtp_rcpt = signed_in

begin acl
signed_in:
  accept authenticated = *
  deny

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${{if and{{{{eq{{$auth2}}{{{user}}}}}{{eq{{$auth3}}{{{secret}}}}}}}}}
  server_set_id = $auth2

begin routers
# Should anyone ever run this queue, nothing goes out.
nowhere:
  driver = redirect
  data = :blackhole:
"""


@contextmanager
def _running(program: str, relay: Door) -> Iterator[Door]:
    start.require_root()
    # Exim keeps its queue as a user of its own; with an empty configuration it tells which one it was built for.
    owner = start.answer(program, "-C", "/dev/null", "-bP", "exim_user").rpartition("= ")[2]
    plain, tls = start.free_ports(2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        shutil.chown(folder, owner)
        for file in ("server.pem", "server.key"):
            shutil.copy(Path(relay.ca).parent / file, folder)
            shutil.chown(folder / file, owner)
        _, user, secret = base64.b64decode(relay.sign_in).decode().split("\0")
        values = {"folder": folder, "plain": plain, "tls": tls, "user": user, "secret": secret}
        configuration = folder / "exim.conf"
        configuration.write_text(_CONFIGURATION.format_map(values), "ascii")
        # It refuses a configuration that others may write to.
        configuration.chmod(0o644)
        with start.served(folder, (program, "-C", str(configuration), "-bdf"), plain) as pid:
            yield replace(relay, pid=pid, ports={"none": plain, "implicit": tls})


EXIM = start.Peer("Exim", ("exim4", "exim"), "with AUTH PLAIN", _running)
