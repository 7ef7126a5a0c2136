# SPDX-License-Identifier: Apache-2.0
"""A real network stack in the place of a guest: run by path, `guest_stack.py TAP_FD LINK`.

In a user and network namespace of its own it makes a TAP with the guest's address on that link and
copies frames between it and TAP_FD until standard input ends. On the management link it listens on
the agent's port and on one more, echoes what it reads, and writes `ready` when it listens. On the
sandbox link it runs the Python program that is its last argument.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import socket
import struct
import sys
import threading
from pathlib import Path

from sbx.sandbox import addresses
from sbx.system.process import run

OTHER_PORT = 7071


LINKS = {
    "management": (addresses.MANAGEMENT_MAC, addresses.MANAGEMENT, addresses.MANAGEMENT_GATEWAY),
    "sandbox": (addresses.SANDBOX_MAC, addresses.SANDBOX, addresses.GATEWAY),
}


def main(outer: int, link: str, *program: str) -> None:
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000 | 0x40000000) != 0:  # CLONE_NEWUSER | CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    inner = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(inner, 0x400454CA, struct.pack("16sH22x", b"eth0", 0x0002 | 0x1000 | 0x4000))
    mac, address, gateway = LINKS[link]
    run(["ip", "link", "set", "lo", "up"])
    run(["ip", "link", "set", "eth0", "address", mac, "up"])
    run(["ip", "address", "add", f"{address}/24", "dev", "eth0"])
    run(["ip", "route", "add", "default", "via", gateway])
    if link == "management":
        for port in (addresses.AGENT_PORT, OTHER_PORT):
            listener = socket.create_server(("", port))
            threading.Thread(target=serve, args=(listener,), daemon=True).start()
        os.write(1, b"ready\n")
    else:
        code = compile(program[0], "program", "exec")
        threading.Thread(target=exec, args=(code, {"__name__": "__main__"}), daemon=True).start()
    copy = {outer: inner, inner: outer}
    while True:
        for ready in select.select([*copy, 0], [], [])[0]:
            if ready == 0:
                return  # standard input is closed: the test is over
            # A frame that finds the queue full is lost, as on any network.
            with contextlib.suppress(BlockingIOError):
                os.write(copy[ready], os.read(ready, 70000))


def serve(listener: socket.socket) -> None:
    """Take connections for ever; threads of their own, since frames must flow while they block."""
    while True:
        client, _ = listener.accept()
        threading.Thread(target=echo, args=(client,), daemon=True).start()


def echo(client: socket.socket) -> None:
    with client, contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            client.sendall(data)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
