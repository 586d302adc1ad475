"""What the kernel knows of a process's sockets."""

from collections.abc import Iterator
from pathlib import Path


def listeners(pid: int) -> Iterator[tuple[str, int]]:
    """Yield address and port of each listening socket of a process, as the kernel has them."""
    links = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()]
    inodes = {link[8:-1] for link in links if link.startswith("socket:[")}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            if fields[3] == "0A" and fields[9] in inodes:
                yield address, int(port, 16)
