"""What this process and its children listen on, for tests that nothing is open to the network (Linux alone)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_LISTENS = "0A"


def exposed() -> list[str]:
    """Addresses, with ports, of listening TCP sockets that others than this machine can reach."""
    return sorted(f"{address}:{port}" for address, port in _listening() if not _loopback(address))


def listening() -> int:
    """How many TCP sockets listen at all."""
    return len(list(_listening()))


def _loopback(address: IPv4Address | IPv6Address) -> bool:
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


def _listening() -> Iterator[tuple[IPv4Address | IPv6Address, int]]:
    own = {inode for pid in _family() for inode in _sockets(pid)}
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            _, local, _, state, *rest = line.split()
            if state == _LISTENS and rest[5] in own:
                host, port = local.split(":")
                # Words of 32 bits, each in the byte order of the machine: little-endian.
                words = (bytes.fromhex(host[at : at + 8])[::-1] for at in range(0, len(host), 8))
                yield ip_address(b"".join(words)), int(port, 16)


def _family() -> list[int]:
    """This process and all that descend from it."""
    children: dict[int, list[int]] = {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, parent = int(place.parent.name), int(place.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        children.setdefault(parent, []).append(pid)
    found = [os.getpid()]
    for pid in found:
        found += children.get(pid, [])
    return found


def _sockets(pid: int) -> Iterator[str]:
    """The inodes of a process's sockets."""
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            yield target[len("socket:[") : -1]
