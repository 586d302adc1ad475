"""TLS in front of a PostgreSQL server that has none, as a client of libpq asks for it."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

# SSLRequest (PostgreSQL: "Message Formats"): its length and a number that is no version of the protocol.
_REQUEST = bytes.fromhex("00000008 04d2162f")
_CHUNK = 65_536


@contextmanager
def tls_front(context: ssl.SSLContext, target: int) -> Iterator[int]:
    """Serve TLS on a port of loopback, and hand what is said to another; give the port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_serve, args=(server, context, target), daemon=True).start()
        yield server.getsockname()[1]


def _serve(server: socket.socket, context: ssl.SSLContext, target: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            threading.Thread(target=_session, args=(client, context, target), daemon=True).start()


def _session(client: socket.socket, context: ssl.SSLContext, target: int) -> None:
    with suppress(OSError), client, socket.create_connection(("127.0.0.1", target)) as database:
        if client.recv(len(_REQUEST)) != _REQUEST:
            return  # it speaks without TLS
        client.sendall(b"S")
        with context.wrap_socket(client, server_side=True) as inside:
            inside.settimeout(0.02)
            database.settimeout(0.02)
            while _passed(inside, database) and _passed(database, inside):
                pass


def _passed(source: socket.socket, sink: socket.socket) -> bool:
    """Pass on what has come; False at the end. One thread for both ways, since a TLS socket is not for two."""
    try:
        data = source.recv(_CHUNK)
    except TimeoutError:
        return True
    sink.sendall(data)
    return bool(data)
