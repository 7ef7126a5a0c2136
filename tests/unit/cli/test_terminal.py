# SPDX-License-Identifier: Apache-2.0
"""The terminal is given back as it was, whatever happens."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Generator, Iterator
from dataclasses import dataclass

import pytest

from sbx.cli.terminal import WindowSize, raw_mode, window_size
from tests.kit.installation import ROOT

# Enters raw mode on its terminal, says so, and then does what a test wants.
_PROGRAM = """
import os, signal, sys
from sbx.cli import main
from sbx.cli.terminal import raw_mode
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup(1)
main._watch_signals()
woken, wakes = os.pipe()  # signal.pause would sleep through a signal that comes just before it
os.set_blocking(wakes, False)
signal.set_wakeup_fd(wakes)
def wait():
    os.write(1, b"raw")
    while True:
        os.read(woken, 1)
with raw_mode(0):
    {body}
"""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Both ends of a terminal, and what its attributes are at the start."""

    ours: int
    theirs: int

    def attributes(self) -> object:
        return termios.tcgetattr(self.theirs)

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.theirs)[3] & termios.ICANON

    def read_until(self, word: bytes) -> bytes:
        text = b""
        while word not in text:
            text += os.read(self.ours, 4096)
        return text


@pytest.fixture(name="terminal")
def _terminal() -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    yield Terminal(ours, theirs)
    os.close(ours)
    os.close(theirs)


@contextlib.contextmanager
def start(terminal: Terminal, body: str) -> Generator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM.format(body=body)],
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        stdin=terminal.theirs,
        stdout=terminal.theirs,
        stderr=subprocess.DEVNULL,
        process_group=0,  # a group whose parents are gone, as in a detached job, cannot be stopped
    ) as child:
        try:
            yield child
        except BaseException:  # so that a test that fails, or is timed out, ends
            child.kill()
            raise


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("pass", 0),
        ("raise ValueError", 1),
        ("raise KeyboardInterrupt", -signal.SIGINT),
        ("sys.exit(5)", 5),
        ("os.kill(os.getpid(), signal.SIGTERM); wait()", 143),
        ("os.kill(os.getpid(), signal.SIGHUP); wait()", 129),
    ],
)
def test_every_way_out_gives_the_terminal_back(terminal: Terminal, body: str, status: int) -> None:
    before = terminal.attributes()
    with start(terminal, body) as child:
        pass
    assert child.returncode == status
    assert terminal.attributes() == before


def test_a_signal_from_outside_gives_it_back(terminal: Terminal) -> None:
    before = terminal.attributes()
    with start(terminal, "wait()") as child:
        terminal.read_until(b"raw")
        assert terminal.is_raw()
        child.terminate()
    assert child.returncode == 143
    assert terminal.attributes() == before


def test_a_stopped_program_leaves_a_usable_terminal_and_returns_to_raw_mode(
    terminal: Terminal,
) -> None:
    before = terminal.attributes()
    with start(
        terminal, "signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b'wide')); wait()"
    ) as child:
        terminal.read_until(b"raw")
        child.send_signal(signal.SIGTSTP)
        found = os.waitid(os.P_PID, child.pid, os.WSTOPPED)
        assert found is not None
        assert terminal.attributes() == before
        child.send_signal(signal.SIGCONT)
        terminal.read_until(b"wide")  # the size is told again
        assert terminal.is_raw()
        child.terminate()
    assert terminal.attributes() == before


def test_a_terminal_that_went_away_is_no_error() -> None:
    ours, theirs = pty.openpty()
    with raw_mode(theirs):
        os.close(ours)
    os.close(theirs)


def test_the_size_of_a_terminal(terminal: Terminal) -> None:
    assert window_size(terminal.theirs) is None  # nobody has set one yet
    fcntl.ioctl(terminal.theirs, termios.TIOCSWINSZ, struct.pack("4H", 40, 120, 0, 0))
    assert window_size(terminal.theirs) == WindowSize(columns=120, rows=40)


def test_what_is_no_terminal_has_no_size() -> None:
    reader, writer = os.pipe()
    assert window_size(reader) is None
    os.close(reader)
    os.close(writer)
