# SPDX-License-Identifier: Apache-2.0
"""The real guest session server as a program of the host, for tests: `guest_server.py MODE FOLDER`.

MODE `here` runs commands in the program's own surroundings; `sandbox` puts a real sandbox together
(namespaces, overlay over the host's root, a tmpfs in FOLDER as data disk), which needs root. Prints
the port and ends when its standard input does.
"""

from __future__ import annotations

import os
import socket
import sys

from sbx.guest import syscalls
from sbx.guest.agent import start_sandbox
from sbx.guest.inside import Setup
from sbx.guest.loop import READ, Loop
from sbx.guest.place import Place
from sbx.guest.server import SessionServer

KEY = b"k" * 32


def log(text: str) -> None:
    sys.stderr.write(text)
    sys.stderr.flush()


def setup_on_host(folder: str) -> Setup:
    """A sandbox whose lowest layer is the host's own root."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    syscalls.mount("", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
    syscalls.mount("tmpfs", folder, "tmpfs")
    setup = Setup(hostname="box", machine_id="0123456789abcdef" * 2, gateway="192.168.127.1")
    setup.layers = ["/"]
    setup.data = folder
    setup.init = ["/bin/sleep", "infinity"]
    setup.workdir = "/root/workspace"
    setup.use_cgroups = False
    return setup


class Program:
    """Serves one listener on loopback."""

    def __init__(self, mode: str, folder: str) -> None:
        self._loop = Loop(log)
        self._server = SessionServer(self._loop, lambda: None)
        self._server.set_key(KEY)
        self._mode = mode
        self._folder = folder

    async def prepare(self) -> None:
        if self._mode == "here":
            self._server.place = Place.here()
        else:
            started = await start_sandbox(self._loop, setup_on_host(self._folder))
            self._server.place = started.place
            self._server.place.workdir = "/root/workspace"
        listener = socket.create_server(("127.0.0.1", 0))
        self._loop.watch(listener.fileno(), READ, lambda _events: self._accept(listener))
        sys.stdout.write(f"{listener.getsockname()[1]}\n")
        sys.stdout.flush()

    def _accept(self, listener: socket.socket) -> None:
        sock, _address = listener.accept()
        self._server.adopt(sock)

    def run(self) -> None:
        self._loop.watch(0, READ, lambda _events: self._loop.stop())
        self._loop.start(self.prepare())
        self._loop.run()


if __name__ == "__main__":
    os.setsid()
    Program(*sys.argv[1:]).run()
