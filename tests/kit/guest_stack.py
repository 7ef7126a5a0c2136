# SPDX-License-Identifier: Apache-2.0
"""A real network stack in the place of a guest: run by path, `guest_stack.py TAP_FD`.

In a user and network namespace of its own it makes a TAP with the guest's address, copies frames
between it and TAP_FD, listens on the agent's port and on one more, and echoes what it reads.
Writes `ready` when it listens.
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


def main(outer: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(0x10000000 | 0x40000000) != 0:  # CLONE_NEWUSER | CLONE_NEWNET
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {uid} 1")
    Path("/proc/self/gid_map").write_text(f"0 {gid} 1")
    inner = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(inner, 0x400454CA, struct.pack("16sH22x", b"eth0", 0x0002 | 0x1000 | 0x4000))
    run(["ip", "link", "set", "eth0", "address", addresses.MANAGEMENT_MAC, "up"])
    run(["ip", "address", "add", f"{addresses.MANAGEMENT}/24", "dev", "eth0"])
    listeners = [socket.create_server(("", port)) for port in (addresses.AGENT_PORT, OTHER_PORT)]
    for listener in listeners:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
    os.write(1, b"ready\n")
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
    main(int(sys.argv[1]))
