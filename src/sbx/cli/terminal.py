# SPDX-License-Identifier: Apache-2.0
"""The user's terminal in raw mode, given back as it was on every way out.

Restored when the block ends, by exception and signal too (SIGTERM and SIGHUP are exceptions here), and
around a stop by SIGTSTP. What a program inside switched on and left behind (alternate screen, hidden
cursor, mouse reports, bracketed paste) is switched off again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import struct
import termios
import tty
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

_TIOCGWINSZ = "4H"
_MODE = re.compile(rb"\x1b\[\?([0-9;]{1,64})([hl])")
_UNFINISHED = re.compile(rb"\x1b(?:\[(?:\?[0-9;]{0,64})?)?\Z")
# Private modes that outlive a program which is cut off, and whether they are on at the start (xterm).
_MODES: dict[int, bool] = {
    1: False, 7: True, 25: True, 47: False, 1000: False, 1002: False, 1003: False, 1004: False,
    1006: False, 1015: False, 1047: False, 1049: False, 2004: False, 2026: False,
}  # fmt: skip


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
def raw_mode(fd: int) -> Iterator[None]:
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


@contextlib.contextmanager
def on_resize(fd: int, tell: Callable[[WindowSize], None]) -> Iterator[None]:
    """Call `tell` with the new size whenever it changes, between two instructions of the main thread."""

    def changed(_number: int, _frame: FrameType | None) -> None:
        size = window_size(fd)
        if size is not None:
            tell(size)

    old = signal.signal(signal.SIGWINCH, changed)
    try:
        yield
    finally:
        signal.signal(signal.SIGWINCH, old)


@dataclass(slots=True)
class ModeTracker:
    """Reads along with the output which private modes are on, so that they can be switched off."""

    _state: dict[int, bool] = field(default_factory=dict[int, bool])
    _carry: bytes = b""

    def feed(self, data: bytes) -> None:
        """Look at a piece of output; a sequence may be cut anywhere."""
        text = self._carry + data
        for match in _MODE.finditer(text):
            for number in match[1].split(b";"):
                mode = int(number) if number else 0
                if mode in _MODES:
                    self._state[mode] = match[2] == b"h"
        unfinished = _UNFINISHED.search(text)
        self._carry = unfinished[0] if unfinished else b""

    def undo(self) -> bytes:
        """What puts the terminal's modes back; nothing for a program that cleaned up itself."""
        changed = [mode for mode, on in self._state.items() if on is not _MODES[mode]]
        return b"".join(b"\x1b[?%d%c" % (mode, b"h"[0] if _MODES[mode] else b"l"[0]) for mode in changed)
