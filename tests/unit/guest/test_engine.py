# SPDX-License-Identifier: Apache-2.0
"""The engine's socket and life, with small programs in the place of dockerd."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbx.guest import cgroups, engine
from sbx.guest.loop import Loop
from sbx.guest.place import Place

# Answers one client on the socket it was given, then waits for its end.
SERVES = """#!/usr/bin/env python3
import os, socket
assert os.environ["LISTEN_PID"] == str(os.getpid()) and os.environ["LISTEN_FDS"] == "1"
assert "SECRET" not in os.environ
with socket.socket(fileno=3) as listener, listener.accept()[0] as client:
    client.recv(100)
    client.sendall(f"served, proxy {os.environ['HTTPS_PROXY']}".encode())
"""
FAILS = "#!/bin/sh\necho 'level=error \"first\"'\necho 'no \"such\" option\\'\nexit 1\n"


class Turns(Loop):
    """A loop that can be left and entered again."""

    def again(self) -> None:
        self._stopped = False
        self.run()


class Scene:
    """An engine around a program, and a loop that turns until a client has its answer."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        path = f"{folder / 'bin'}:{os.environ['PATH']}"
        for name in ("bin", "group", "run"):
            (folder / name).mkdir()
        (folder / "group" / "cgroup.procs").touch()
        patch.setattr(engine, "DEFAULT_PATH", path)
        patch.setattr(engine, "SOCKET", str(folder / "run" / "docker.sock"))
        patch.setattr(engine, "_LOG", str(folder / "log" / "docker.log"))
        patch.setattr(engine, "_CONTAINERS", str(folder / "containers"))
        patch.setattr(cgroups, "ENGINE", str(folder / "group"))
        self.loop = Turns(print)
        self.place = Place.here()
        self.made: engine.Engine | None = None
        self.listener: socket.socket | None = None
        self.place.env = {"HTTPS_PROXY": "http://gateway:3128", "SECRET": "1"}

    def engine(self) -> engine.Engine:
        self.listener = engine.open_socket()
        assert self.listener is not None
        self.made = engine.Engine(self.loop, self.listener, self.place)
        return self.made

    def close(self) -> None:
        """Return when nothing runs any more: a process that is left would be another test's."""
        if self.made is not None:
            self.made.close()
            self.loop.call_after(0.0, self._look)
            self.loop.again()
        if self.listener is not None:
            self.listener.close()
        self.loop.close()

    def _look(self) -> None:
        if self.made is None or self.made.pid is None:
            self.loop.stop()
        else:
            self.loop.call_after(0.01, self._look)

    def program(self, text: str) -> None:
        file = self.folder / "bin" / "dockerd"
        file.write_text(text)
        file.chmod(0o755)

    def ask(self) -> bytes:
        """What a client gets that connects now."""
        found: list[bytes] = []

        def client() -> None:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(engine.SOCKET)
                sock.sendall(b"GET /_ping HTTP/1.1\r\n\r\n")
                data = b""
                while piece := sock.recv(4096):
                    data += piece
            found.append(data)
            os.write(done, b"x")

        wake, done = os.pipe()
        self.loop.watch(wake, 1, lambda _events: self.loop.stop())
        thread = threading.Thread(target=client)
        thread.start()
        self.loop.again()
        thread.join()
        self.loop.unwatch(wake)
        for fd in (wake, done):
            os.close(fd)
        return found[0]


@pytest.fixture(name="scene")
def _scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    made = Scene(tmp_path, monkeypatch)
    yield made
    made.close()


def test_a_template_without_an_engine_has_no_socket(scene: Scene) -> None:
    assert engine.open_socket() is None
    assert not (scene.folder / "run" / "docker.sock").exists()


def test_a_first_client_waits_for_the_engine_and_a_later_one_starts_it_again(scene: Scene) -> None:
    scene.program(SERVES)
    made = scene.engine()
    assert made.pid is None, "nothing runs before somebody connects"
    assert scene.ask() == b"served, proxy http://gateway:3128"
    assert scene.ask() == b"served, proxy http://gateway:3128", "the first one has ended"
    assert Path(engine.SOCKET).stat().st_mode & 0o777 == 0o660
    assert (scene.folder / "group" / "cgroup.procs").read_text() == "0"


def test_who_waits_for_an_engine_that_fails_hears_its_last_words(scene: Scene) -> None:
    scene.program(FAILS)
    scene.engine()
    head, _, body = scene.ask().partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b'no \\"such\\" option\\\\ (sandbox, ' in body
    scene.program(SERVES)
    assert scene.ask().startswith(b"served"), "the next client makes another try"


@pytest.mark.parametrize(
    ("policy", "stopped", "wanted"),
    [
        ("always", "true", True),
        ("unless-stopped", "false", True),
        ("unless-stopped", "true", False),
        ("no", "false", False),
    ],
)
def test_containers_that_are_to_be_up_all_the_time(
    scene: Scene, policy: str, stopped: str, *, wanted: bool
) -> None:
    assert not engine.is_wanted()
    folder = scene.folder / "containers" / "abc"
    folder.mkdir(parents=True)
    host = '{"Binds":null,"RestartPolicy":{"Name":"%s","MaximumRetryCount":0}}'
    (folder / "hostconfig.json").write_text(host % policy)
    (folder / "config.v2.json").write_text(f'{{"HasBeenManuallyStopped":{stopped}}}')
    assert engine.is_wanted() is wanted
