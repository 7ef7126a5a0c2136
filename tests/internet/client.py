# SPDX-License-Identifier: Apache-2.0
"""The test internet as a test sees it: start it, run programs in it, ask what its servers saw."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import cast

from tests.internet.facts import WEB, Kind, Seen, Step
from tests.internet.model.script import Move
from tests.internet.model.serve import HOSTS

ROOT = Path(__file__).parents[2]
READY = "ready\n"
_ANSWER_S = 60.0
_PRIVILEGED = ("--net", "--mount")
# As an ordinary user; programs inside then are root in their own eyes.
_UNPRIVILEGED = ("--user", "--map-root-user", *_PRIVILEGED)


class Internet:
    """A running test internet. Its names and addresses are in `tests.internet.facts`."""

    def __init__(self, pid: int, folder: Path) -> None:
        self.pid = pid
        self.ca = folder / "tls" / "ca.pem"
        self.files = folder / "files"  # what is put here is served at its path
        self.repositories = folder / "git"  # bare repositories, served below /git/
        self._control = socket.socket(socket.AF_UNIX)
        self._control.settimeout(_ANSWER_S)
        self._control.connect(str(folder / "control"))
        self._answers = self._control.makefile("rb")

    def enter(self, cwd: Path = Path("/")) -> tuple[str, ...]:
        """What stands before a command that is to run in this internet, in a folder."""
        user = () if os.geteuid() == 0 else ("--user", "--preserve-credentials")
        target = ("nsenter", "--target", str(self.pid))
        return (*target, *user, "--net", "--mount", f"--wdns={cwd}", "--")

    def run(self, *command: str | Path, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a program in this internet, as the host would."""
        return subprocess.run(
            [*self.enter(), *command],
            input=stdin,
            capture_output=True,
            timeout=_ANSWER_S,
            check=False,
        )

    def name(self, name: str, *steps: Sequence[str]) -> None:
        """Give a name addresses: each set at one look-up, the last one at all further ones.

        Several steps are a name that is rebound; an empty one is a name that does not exist.
        """
        self._ask(do="name", name=name, steps=[list(step) for step in steps])

    def script(self, port: int, *steps: Step, tls: bool = False) -> None:
        """Follow these steps on every connection to a port of all IPv4 addresses."""
        self._ask(do="script", port=port, script=[s.to_json() for s in steps], tls=tls)

    def release(self, key: str) -> None:
        """Open a gate once: for `/slow/KEY`, `/drip/KEY`, `/events/KEY` or a script that waits."""
        self._ask(do="release", key=key)

    def seen(self, kind: Kind | None = None, text: str = "") -> list[Seen]:
        """What arrived so far, of a kind, with a text in its `what`."""
        return _entries(self._ask(do="seen", kind=kind, text=text))

    def wait(self, kind: Kind | None = None, text: str = "", *, count: int = 1) -> list[Seen]:
        """The same, when there are so many; fails after a minute."""
        return _entries(self._ask(do="wait", kind=kind, text=text, count=count))

    def model(self, key: str, *moves: Move) -> None:
        """Be the makers of models at their own names, for who has the key; make these moves."""
        for host in HOSTS:
            self.name(host, [WEB])
        self._ask(do="model", key=key, moves=[move.to_json() for move in moves])

    def certificate(self, name: str) -> Path:
        """A file with a key and a certificate for a server of one's own."""
        return Path(cast("str", self._ask(do="certificate", name=name)))

    def packets(self) -> set[str]:
        """Every kind of packet so far: `tcp 192.0.2.1:80`, `udp …`, `icmp …`, also to nowhere."""
        return set(cast("list[str]", self._ask(do="packets")))

    def forget(self) -> None:
        """Begin anew with what was seen and with packets."""
        self._ask(do="forget")

    def close(self) -> None:
        self._answers.close()
        self._control.close()

    def _ask(self, **request: object) -> object:
        self._control.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(self._answers.readline())
        assert "ok" in answer, answer
        return answer["ok"]


@contextlib.contextmanager
def open_internet() -> Generator[Internet]:
    """A test internet in namespaces of its own; everything of it is gone at the end.

    Works as root, and as a user who may make user namespaces.
    """
    folder = Path(tempfile.mkdtemp(prefix="sbx-internet-"))
    options = _PRIVILEGED if os.geteuid() == 0 else _UNPRIVILEGED
    child = subprocess.Popen(
        ["unshare", *options, sys.executable, "-m", "tests.internet", "serve", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={
            "PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'src'}",
            "LANG": "C.UTF-8",
        },
    )
    try:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == READY.encode(), "the test internet does not start"
        internet = Internet(child.pid, folder)
        try:
            yield internet
        finally:
            internet.close()
            child.stdin.close()
            child.wait(timeout=_ANSWER_S)
    finally:
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                pipe.close()
        shutil.rmtree(folder)


def _entries(answer: object) -> list[Seen]:
    return [Seen.from_json(each) for each in cast("list[dict[str, object]]", answer)]
