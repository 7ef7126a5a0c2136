# SPDX-License-Identifier: Apache-2.0
"""A terminal that a person could sit at: tmux, with what it shows and the keys that are typed."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path

LIMIT_S = 300.0  # for what is waited for, on a busy machine under emulation
_LOOK_S = 0.5


class Tmux:
    """One window in which a program runs."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._socket = folder / "tmux"
        self._env = {**env, "TERM": "xterm-256color"}

    def start(self, command: Sequence[str], *, columns: int, rows: int) -> None:
        """Run a program in a new window of this size; what it leaves stays on the screen."""
        size = ("-x", str(columns), "-y", str(rows))
        self._run("-f", "/dev/null", "new-session", "-d", *size, *command)

    def resize(self, columns: int, rows: int) -> None:
        self._run("resize-window", "-x", str(columns), "-y", str(rows))

    def keys(self, *keys: str) -> None:
        """Keys by the names of tmux(1): `Enter`, `C-c`."""
        self._run("send-keys", *keys)

    def type(self, text: str) -> None:
        self._run("send-keys", "-l", text)

    def paste(self, text: str) -> None:
        """As from a clipboard; a program that wants to know is told (bracketed paste)."""
        self._run("set-buffer", text)
        self._run("paste-buffer", "-p")

    def screen(self, *, colours: bool = False) -> str:
        """What is to be seen, with the sequences for colours if wanted."""
        return self._run("capture-pane", "-p", *(("-e",) if colours else ()))

    def flag(self, name: str) -> str:
        """A format variable of tmux(1), such as `mouse_sgr_flag`."""
        return self._run("display-message", "-p", f"#{{{name}}}").strip()

    def until(self, seen: Callable[[str], bool] | str) -> str:
        """Wait until a text, or something else about it, is on the screen, and return that."""
        end = time.monotonic() + LIMIT_S
        while True:
            text = self.screen()
            if seen in text if isinstance(seen, str) else seen(text):
                return text
            assert time.monotonic() < end, f"{seen} is not on the screen:\n{text}"
            time.sleep(_LOOK_S)

    def until_flag(self, name: str, value: str) -> None:
        """Wait until a format variable has a value."""
        end = time.monotonic() + LIMIT_S
        while (found := self.flag(name)) != value:
            assert time.monotonic() < end, f"{name} is {found}"
            time.sleep(_LOOK_S)

    def stop(self) -> None:
        """End the server with all that runs in it."""
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("kill-server")
        end = time.monotonic() + LIMIT_S
        while self.is_open():
            assert time.monotonic() < end, "tmux does not end"
            time.sleep(_LOOK_S)

    def is_open(self) -> bool:
        """Whether its program has not ended."""
        command = ["tmux", "-S", str(self._socket), "list-sessions"]
        done = subprocess.run(command, env=self._env, check=False, capture_output=True)
        return done.returncode == 0

    def _run(self, *args: str) -> str:
        command = ["tmux", "-S", str(self._socket), *args]
        done = subprocess.run(
            command, env=self._env, check=True, stdout=subprocess.PIPE, timeout=LIMIT_S
        )
        return done.stdout.decode()


@contextlib.contextmanager
def open_tmux(folder: Path, env: Mapping[str, str]) -> Generator[Tmux]:
    """A terminal whose socket is in a folder; its programs are gone afterwards."""
    tmux = Tmux(folder, env)
    try:
        yield tmux
    finally:
        tmux.stop()
