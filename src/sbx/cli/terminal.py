# SPDX-License-Identifier: Apache-2.0
"""The user's terminal in raw mode, given back as it was on every way out.

Restored when the block ends, by exception and signal too (SIGTERM and SIGHUP are exceptions here),
and around a stop by SIGTSTP.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import termios
import tty
from collections.abc import Generator
from dataclasses import dataclass
from types import FrameType

_TIOCGWINSZ = "4H"
# What a program that was cut off may have left on: alternate screen, application keys, mouse and
# focus reports, bracketed paste, a hidden cursor, colours. Each does nothing on a terminal that has
# it off; 1049 is not among them, since it moves the cursor even then. See xterm's ctlseqs.
RESET_MODES = (
    b"\x1b[?1047l\x1b[?1l\x1b>\x1b[?1000l\x1b[?1002l\x1b[?1003l\x1b[?1004l\x1b[?1006l"
    b"\x1b[?2004l\x1b[?25h\x1b[0m"
)


@dataclass(frozen=True, slots=True)
class WindowSize:
    """Character cells of a terminal."""

    columns: int
    rows: int


def window_size(fd: int) -> WindowSize | None:
    """The size of the terminal, or None where it has none or says 0 by 0."""
    try:
        packed = fcntl.ioctl(fd, termios.TIOCGWINSZ, b"\0" * struct.calcsize(_TIOCGWINSZ))
    except OSError:
        return None
    rows, columns, _x, _y = struct.unpack(_TIOCGWINSZ, packed)
    return WindowSize(columns, rows) if rows and columns else None


@contextlib.contextmanager
def raw_mode(fd: int) -> Generator[None]:
    """Pass every key on as it is typed; the terminal is as before when the block ends."""
    before = termios.tcgetattr(fd)
    old_stop = signal.getsignal(signal.SIGTSTP)

    def stop(_number: int, _frame: FrameType | None) -> None:
        _restore(fd, before)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)  # goes on here after SIGCONT
        signal.signal(signal.SIGTSTP, stop)
        _enter(fd)
        os.kill(os.getpid(), signal.SIGWINCH)  # the size may be another one by now

    try:
        signal.signal(signal.SIGTSTP, stop)
        _enter(fd)
        yield
    finally:
        _restore(fd, before)
        signal.signal(signal.SIGTSTP, old_stop)


def _enter(fd: int) -> None:
    tty.setraw(fd, termios.TCSADRAIN)


def _restore(fd: int, attributes: list[int | list[bytes | int]]) -> None:
    with contextlib.suppress(termios.error):  # the terminal itself is gone
        termios.tcsetattr(fd, termios.TCSADRAIN, attributes)
