# SPDX-License-Identifier: Apache-2.0
"""A program in QEMU's and bubblewrap's place: speaks QMP on the passed socket, as it is told to.

The first argument says how it behaves, the rest is the real command line. It tells each QMP
command on the console, so that a test sees what was asked for, in order.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

PAIRED = ("console", "monitor", "control")


def passed_sockets(args: list[str]) -> dict[str, socket.socket]:
    found: dict[str, socket.socket] = {}
    for value in args:
        fields = {(p := part.partition("="))[0]: p[2] for part in value.split(",")}
        if fields.get("id") in PAIRED and "fd" in fields:
            found[fields["id"]] = socket.socket(fileno=int(fields["fd"]))
    return found


class Fake:
    def __init__(self, behaviour: str, sockets: dict[str, socket.socket]) -> None:
        self.refused = behaviour.split(":")[1] if behaviour.startswith("refuse:") else ""
        self.behaviour = behaviour
        self.sockets = sockets

    def say(self, text: str) -> None:
        self.sockets["console"].sendall(text.encode())

    def send(self, message: dict[str, Any]) -> None:
        self.sockets["monitor"].sendall(json.dumps(message).encode() + b"\r\n")

    def event(self, name: str, **data: Any) -> None:
        stamp = {"seconds": 1, "microseconds": 0}
        self.send({"event": name, "data": data, "timestamp": stamp})

    def serve(self) -> None:
        version = {"qemu": {"major": 10, "minor": 0, "micro": 0}, "package": ""}
        self.send({"QMP": {"version": version, "capabilities": []}})
        decoder, text = json.JSONDecoder(), ""
        while data := self.sockets["monitor"].recv(4096):
            text = (text + data.decode()).lstrip()  # a blank stands before each passed descriptor
            while text:
                try:
                    message, end = decoder.raw_decode(text)  # nothing separates two messages
                except ValueError:
                    break
                text = text[end:].lstrip()
                self.answer(message)

    def answer(self, message: dict[str, Any]) -> None:
        command = message["execute"]
        if command == "qmp_capabilities":
            self.send({"return": {}})  # the library numbers what it sends from here on
            if self.behaviour == "ends-at-once":
                sys.exit(0)
            return
        self.say(f"<{command}>\n")
        if command == self.refused:
            text = 'Failed to get "write" lock' if self.behaviour.endswith(":locked") else "no"
            self.send({"error": {"class": "GenericError", "desc": text}, "id": message["id"]})
            return
        replies = {"add-fd": {"fdset-id": 7, "fd": 9}, "query-status": {"status": "running"}}
        self.send({"return": replies.get(command, {}), "id": message["id"]})
        if command == "quit" and self.behaviour != "deaf":
            self.event("SHUTDOWN", guest=False, reason="host-qmp-quit")
            sys.exit(0)
        if command == "cont":
            self.event("RESUME")
            if self.behaviour.startswith("end:"):
                self.end()

    def end(self) -> None:
        match self.behaviour.removeprefix("end:"):
            case "power-off":
                self.event("SHUTDOWN", guest=True, reason="guest-shutdown")
            case "panic":
                self.say("Kernel panic - not syncing: \x1b[31mAttempted to kill init!\r\n")
                self.event("SHUTDOWN", guest=True, reason="guest-reset")
            case "disk-full":
                self.event("BLOCK_IO_ERROR", nospace=True, reason="No space left on device")
                self.event("STOP")
                self.behaviour = "normal"
                return
            case "crash":
                sys.stderr.write("something broke\n")
                sys.exit(3)
            case "flood":
                for _ in range(4096):
                    self.say("x" * 1024)
            case _:
                pass
        sys.exit(0)


def main() -> None:
    behaviour, args = sys.argv[1], sys.argv[2:]
    match behaviour:
        case "dies":
            sys.stderr.write("qemu: cannot do that\n")
            sys.exit(1)
        case "no-namespaces":
            sys.stderr.write("bwrap: No permissions to create new namespace\n")
            sys.exit(1)
        case "no-memory":
            sys.stderr.write("qemu: cannot set up guest memory 'ram': Cannot allocate memory\n")
            sys.exit(1)
        case "garbage":
            passed_sockets(args)["monitor"].sendall(b"hello\r\n")
        case "probe-works":
            fd = next(a for a in args if a.startswith("/proc/self/fd/"))
            script = Path(fd).read_bytes()
            start = script.index(b"echo ") + 5
            sys.stdout.buffer.write(b"\r\n" + script[start : script.index(b"\n", start)] + b"\r\n")
            return
        case "probe-crashes":
            sys.stdout.write("Kernel panic\r\n")
            return
        case "silent":
            pass
        case _:
            if behaviour == "deaf":
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
            Fake(behaviour, passed_sockets(args)).serve()
    while os.getppid() != 1:
        time.sleep(0.05)


main()
