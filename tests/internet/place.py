# SPDX-License-Identifier: Apache-2.0
"""The namespaces of the test internet from the inside: addresses, and the files of its own view.

Run in fresh network and mount namespaces. The resolver, hosts and CA files of the host are covered,
so that programs started here, sbx among them, need no option to live in this internet.
"""

from __future__ import annotations

import fcntl
import os
import ssl
import struct
import subprocess
from pathlib import Path

from tests.internet.facts import (
    METADATA,
    OTHER_WEB,
    PRIVATE,
    PUBLIC_RESOLVER,
    RESOLVER,
    SEARCH_DOMAIN,
    SHARED,
    WEB,
    WEB6,
)

_ADDRESSES = (
    *(f"{each}/24" for each in (RESOLVER, PUBLIC_RESOLVER, WEB, OTHER_WEB)),
    *(f"{each}/32" for each in (PRIVATE, SHARED, METADATA)),
    f"{WEB6}/64",
)
_FILES = {
    # One try and two seconds: the tests ask a server that answers at once or not at all.
    "/etc/resolv.conf": (
        f"nameserver {RESOLVER}\nsearch {SEARCH_DOMAIN}\noptions timeout:2 attempts:1\n"
    ),
    "/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n",
    # Without `resolve` and the like, which would ask a daemon outside of this namespace.
    "/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
}
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
_DAEMON_FOLDERS = ("/run/nscd", "/run/systemd/resolve")


class PlaceError(Exception):
    """The host does not let us make this internet."""


def prepare(folder: Path, authority: Path) -> int:
    """Give the namespaces their addresses and files.

    Returns the descriptor of the link: what is routed there comes out of it, one packet a read.

    Raises:
        PlaceError: the host does not let us.
    """
    _run("ip", "link", "set", "lo", "up")
    link = _open_link()
    # No address of its own accord, and so no router solicitations: what moves here was sent.
    Path("/proc/sys/net/ipv6/conf/internet/addr_gen_mode").write_text("1")
    for address in _ADDRESSES:
        options = ["nodad"] if ":" in address else []
        _run("ip", "address", "add", address, "dev", "internet", *options)
    _run("ip", "link", "set", "internet", "up")
    _run("ip", "route", "add", "default", "dev", "internet")
    _cover_files(folder)
    _cover_certificates(folder, authority)
    return link


def _open_link() -> int:
    """A TUN. The product needs TUN anyway, and not every kernel has dummy links."""
    fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", b"internet", _IFF_TUN | _IFF_NO_PI))
    return fd


def _cover_files(folder: Path) -> None:
    for number, (name, text) in enumerate(_FILES.items()):
        own = folder / f"etc-{number}"
        own.write_text(text)
        _run("mount", "--bind", str(own), str(Path(name).resolve()))
    for path in map(Path, _DAEMON_FOLDERS):
        # The host's resolv.conf may be a link into one of these, and is covered already.
        if path.is_dir() and path not in Path("/etc/resolv.conf").resolve().parents:
            _run("mount", "-t", "tmpfs", "none", str(path))


def _cover_certificates(folder: Path, authority: Path) -> None:
    """Only the test CA is trusted here, wherever OpenSSL of this Python and of the system look."""
    own = folder / "certs"
    own.mkdir()
    data = authority.read_bytes()
    (own / "ca-certificates.crt").write_bytes(data)
    (own / f"{_subject_hash(data)}.0").write_bytes(data)
    where = ssl.get_default_verify_paths()
    folders = {Path(p).resolve() for p in ("/etc/ssl/certs", where.openssl_capath)}
    for path in folders:
        if path.is_dir():
            _run("mount", "--bind", str(own), str(path))
    bundle = Path(where.openssl_cafile).resolve()
    if bundle.is_file() and bundle.parent not in folders:
        _run("mount", "--bind", str(authority), str(bundle))


def _subject_hash(data: bytes) -> str:
    """The name by which OpenSSL finds a CA in a folder."""
    done = subprocess.run(
        ["openssl", "x509", "-noout", "-subject_hash"],
        input=data,
        stdout=subprocess.PIPE,
        check=True,
    )
    return done.stdout.decode().strip()


def _run(*command: str) -> None:
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise PlaceError(f"{' '.join(command)}: {done.stderr.decode(errors='replace').strip()}")
