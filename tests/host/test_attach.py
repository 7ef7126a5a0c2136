# SPDX-License-Identifier: Apache-2.0
"""`run` and `exec` at a terminal and in pipes, against the real guest session code."""

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
from pathlib import Path

import pytest

from tests.kit.guest import Guest, run_guest
from tests.kit.installation import ROOT

if os.geteuid() != 0:
    pytest.skip("needs root: commands change their user", allow_module_level=True)


@pytest.fixture(scope="module", name="guest")
def _guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with run_guest("here", tmp_path_factory.mktemp("guest")) as found:
        yield found


def command(guest: Guest, kind: str, keys: str, *argv: str) -> list[str]:
    return [
        sys.executable,
        "-P",
        "-m",
        "tests.kit.attach_program",
        str(guest.port),
        kind,
        keys,
        *argv,
    ]


ENV = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "TERM": "xterm"}


@dataclass(slots=True)
class Screen:
    """A terminal with a session on it."""

    child: subprocess.Popen[bytes]
    ours: int
    theirs: int
    before: object
    seen: bytes = b""

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def expect(self, word: bytes) -> bytes:
        """Read until a word; returns what came up to it."""
        while word not in self.seen:
            self.seen += os.read(self.ours, 4096)
        found, _, self.seen = self.seen.partition(word)
        return found

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("4H", rows, columns, 0, 0))
        self.child.send_signal(signal.SIGWINCH)

    def end(self) -> int:
        """Wait for the end; the terminal must be as it was."""
        self.expect(b"ended" if self.child.poll() is None else b"")
        status = self.child.wait(10)
        assert termios.tcgetattr(self.theirs) == self.before
        return status


@contextlib.contextmanager
def on_screen(guest: Guest, *argv: str, keys: str = "ctrl-p,ctrl-q") -> Generator[Screen]:
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 33, 111, 0, 0))
    before = termios.tcgetattr(theirs)
    child = subprocess.Popen(
        command(guest, "tty", keys, *argv), stdin=theirs, stdout=theirs, stderr=theirs, env=ENV
    )
    try:
        yield Screen(child, ours, theirs, before)
    finally:
        child.kill()
        child.wait()
        os.close(ours)
        os.close(theirs)


def test_size_resize_interrupt_and_status(guest: Guest) -> None:
    wait = "while ! read x; do :; done"  # an interrupt ends a read
    script = f"stty size; trap 'echo got it' INT; echo go; {wait}; stty size; exit 7"
    with on_screen(guest, "sh", "-c", script) as s:
        s.expect(b"33 111\r\n")
        s.expect(b"go")
        s.type(b"\x03")
        s.expect(b"got it")
        s.resize(40, 120)
        s.type(b"\n")
        s.expect(b"40 120")
        assert s.end() == 7


def test_keys_arrive_raw(guest: Guest) -> None:
    script = "stty raw -echo; printf ready; head -c 4 | od -An -tx1"
    with on_screen(guest, "sh", "-c", script) as s:
        s.expect(b"ready")
        s.type(b"\x04\x1a\x13\x0d")  # Ctrl-D, Ctrl-Z, Ctrl-S, Enter
        s.expect(b" 04 1a 13 0d")
        assert s.end() == 0


def test_detach_keys_leave_it_running_and_switch_modes_off(guest: Guest, tmp_path: Path) -> None:
    done = tmp_path / "done"
    os.mkfifo(done)
    tmp_path.chmod(0o777)
    done.chmod(0o666)
    script = (
        f"printf '\\033[?1049h\\033[?25lup'; cat {done} >/dev/null; echo went on >{tmp_path}/proof"
    )
    tmp_path.parent.chmod(0o755)
    with on_screen(guest, "sh", "-c", script) as s:
        s.expect(b"up")
        s.type(b"\x10\x11")
        s.expect(b"\x1b[?25h")
        s.expect(b"detached")
        assert s.child.wait(10) == 0
        assert termios.tcgetattr(s.theirs) == s.before
    with done.open("w"):
        pass
    proof = tmp_path / "proof"
    with on_screen(
        guest, "sh", "-c", f"while [ ! -s {proof} ]; do sleep 0.05; done; cat {proof}"
    ) as s:
        s.expect(b"went on")


def test_other_detach_keys(guest: Guest) -> None:
    with on_screen(guest, "cat", keys="a,b") as s:
        s.type(b"xa")
        s.expect(b"x")
        s.type(b"yab")
        s.expect(b"ay")
        s.expect(b"detached")
        assert s.child.wait(10) == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_session_and_gives_the_terminal_back(
    guest: Guest, number: signal.Signals, status: int
) -> None:
    with on_screen(guest, "sh", "-c", "echo up; exec sleep 100") as s:
        s.expect(b"up")
        s.child.send_signal(number)
        assert s.child.wait(10) == status
        assert termios.tcgetattr(s.theirs) == s.before
        s.expect(b"\x1b[?25h")


def test_a_lost_connection_is_an_error_and_gives_the_terminal_back(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        guest = stack.enter_context(run_guest_that_dies(tmp_path))
        s = stack.enter_context(on_screen(guest, "sh", "-c", "echo up; exec sleep 100"))
        s.expect(b"up")
        os.killpg(guest.pid, signal.SIGKILL)
        s.expect(b"ERROR: connection to sandbox `box` was lost")
        assert s.child.wait(10) == 1
        assert termios.tcgetattr(s.theirs) == s.before


@contextlib.contextmanager
def run_guest_that_dies(folder: Path) -> Generator[Guest]:
    with contextlib.suppress(AssertionError, BrokenPipeError), run_guest("here", folder) as guest:
        yield guest


def pipes(guest: Guest, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        command(guest, "pipes", "", *argv), input=stdin, capture_output=True, env=ENV, check=False
    )


def test_streams_are_exact_and_apart(guest: Guest) -> None:
    data = os.urandom(3_000_000)
    done = pipes(guest, "sh", "-c", "cat; echo err >&2; exit 37", stdin=data)
    # The program's own last word goes nowhere if the guest has closed its stderr before it ended.
    said = done.stderr.removesuffix(b"ended\n")
    assert (done.returncode, done.stdout, said) == (37, data, b"err\n")


def test_what_is_not_there_is_told_on_standard_output(guest: Guest) -> None:
    done = pipes(guest, "nosuch\x1b")
    assert done.returncode == 127
    assert b"OCI runtime exec failed" in done.stdout
    assert b"\x1b" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_signals_go_to_the_command_without_a_terminal(guest: Guest, number: signal.Signals) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo caught; exit 9' {name}; echo up; while :; do sleep 0.05; done"
    with subprocess.Popen(
        command(guest, "pipes", "", "sh", "-c", script), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.send_signal(number)
        assert child.stdout.readline() == b"caught\n"
        assert child.wait(10) == 9


def test_the_third_interrupt_leaves_a_deaf_command(guest: Guest) -> None:
    script = "trap 'echo no' INT; echo up; while :; do sleep 0.05; done"
    with subprocess.Popen(
        command(guest, "pipes", "", "sh", "-c", script), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV,
    ) as child:  # fmt: skip
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        for _ in range(2):
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == b"no\n"
        child.send_signal(signal.SIGINT)
        assert child.wait(10) == 130


def test_closed_standard_input(guest: Guest) -> None:
    argv = command(guest, "pipes", "", "sh", "-c", "cat; echo end")
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" <&-', "sh", *argv], capture_output=True, env=ENV, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"end\n"), done.stderr
