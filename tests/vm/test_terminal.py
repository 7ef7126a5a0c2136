# SPDX-License-Identifier: Apache-2.0
"""`run` on a real terminal: size, keys, detaching, and the terminal given back on every way out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator

import pytest

from tests.kit.installation import Installation

NAME = "term"
TIMEOUT_S = 60.0


class Screen:
    """A terminal with `sbx run` on it."""

    def __init__(self, sbx: Installation) -> None:
        self.master, self._slave = pty.openpty()
        self.resize(24, 80)
        self.before = termios.tcgetattr(self._slave)
        self.seen = b""
        self.process = subprocess.Popen(
            sbx.command("run", "--name", NAME),
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            env=sbx.env(),
            start_new_session=True,
        )
        self.until(b"$ ")

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        while keys:
            keys = keys[os.write(self.master, keys[:512]) :]

    def until(self, text: bytes) -> None:
        """Read until a text is on the screen, which is forgotten then."""
        end = time.monotonic() + TIMEOUT_S
        while text not in self.seen:
            assert time.monotonic() < end, self.seen
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)
        self.seen = self.seen.partition(text)[2]

    def end(self) -> int:
        """The status, once the terminal was seen to be as before."""
        end = time.monotonic() + TIMEOUT_S
        # Somebody has to read: a terminal is restored when what is on its way to it has arrived.
        while (status := self.process.poll()) is None:
            assert time.monotonic() < end, self.seen
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)
        assert termios.tcgetattr(self._slave) == self.before
        return status

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)
        os.close(self._slave)


@pytest.fixture(name="box")
def _box(sbx: Installation) -> Installation:
    """A running sandbox."""
    sbx.ok("policy", "init", "deny-all")  # `run` on a terminal would ask
    sbx.ok("create", "--name", NAME, "-q", "--memory", "1g", "shell")
    return sbx


@pytest.fixture(name="screen")
def _screen(box: Installation) -> Iterator[Screen]:
    """A login shell in it."""
    screen = Screen(box)
    yield screen
    screen.close()


def test_size_keys_and_status(screen: Screen) -> None:
    screen.type(b"stty size; echo $TERM\n")
    screen.until(b"24 80\r\nxterm-256color")
    screen.resize(30, 100)
    os.kill(screen.process.pid, signal.SIGWINCH)  # the pty tells a foreground group; we are none
    screen.type(b"sleep 0.5; stty size\n")
    screen.until(b"30 100")
    # Said by what then sleeps: an interrupt that comes before it has the terminal is the shell's.
    screen.type(b"sh -c 'echo begun; exec sleep 1000'\n")
    screen.until(b"\rbegun")
    screen.type(b"\x03")
    screen.type(b"echo status $?\n")
    screen.until(b"status 130")
    screen.type(b"exit 37\n")
    assert screen.end() == 37


def test_a_large_paste_arrives_whole(screen: Screen) -> None:
    lines = b"".join(b"%04d %s\n" % (number, b"y" * 94) for number in range(100))
    screen.type(b"stty -echo; cat > /tmp/pasted; wc -c < /tmp/pasted\n")
    time.sleep(1)
    screen.type(lines + b"\x04")
    screen.until(b"10000\r\n")


def test_detach_keys_leave_the_session_running(box: Installation, screen: Screen) -> None:
    screen.type(b"sh -c 'echo begun; exec sleep 4711'\n")
    screen.until(b"\rbegun")
    screen.type(b"\x10\x11")
    screen.until(b"Detached; the session goes on")
    assert screen.end() == 0
    assert box.inside(NAME, "pgrep", "-f", "sleep 4711").ok().out


def test_the_terminal_is_restored_when_we_are_ended(screen: Screen) -> None:
    screen.process.terminate()
    assert screen.end() == 143


def test_the_terminal_is_restored_when_the_sandbox_is_removed(
    box: Installation, screen: Screen
) -> None:
    box.ok("rm", "-f", NAME)
    assert screen.end() != 0
