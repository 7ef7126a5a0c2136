# SPDX-License-Identifier: Apache-2.0
"""Progress on standard error: one line that is redrawn on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

from sbx.cli.output import clean, duration
from sbx.system.progress import Progress, Silent

_REDRAW_S = 0.1
_PLAIN_S = 10.0  # without a terminal: one line in so many seconds shows that it lives
_BAR_CELLS = 20
_ERASE = "\r\x1b[K"


class LineProgress:
    """A step on a terminal: `Building runtime [####      ] 40 % qemu-system-x86`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._what = ""
        self._total: int | None = None
        self._done = 0
        self._detail = ""
        self._began = 0.0
        self._drawn = 0.0

    def begin(self, what: str, *, total: int | None = None) -> None:
        self._what, self._total, self._done, self._detail = what, total, 0, ""
        self._began = time.monotonic()
        self._draw()

    def advance(self, done: int) -> None:
        self._done = done
        self._redraw()

    def note(self, text: str) -> None:
        self._detail = text
        self._redraw()

    def end(self) -> None:
        taken = time.monotonic() - self._began
        self._write(
            f"{_ERASE}✓ {clean(self._what)}{f' ({duration(taken)})' if taken >= 1 else ''}\n"
        )

    def clear(self) -> None:
        """Take an unfinished line away, before something else is printed."""
        self._write(_ERASE)

    def _redraw(self) -> None:
        if time.monotonic() - self._drawn >= _REDRAW_S:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        parts = [clean(self._what)]
        if self._total:
            share = min(self._done / self._total, 1.0)
            filled = int(share * _BAR_CELLS)
            parts.append(f"[{'#' * filled}{' ' * (_BAR_CELLS - filled)}] {share * 100:.0f} %")
        if self._detail:
            parts.append(clean(self._detail))
        self._write(_ERASE + "  ".join(parts)[: _columns(self._stream) - 1])

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class PlainProgress:
    """A step in a log: a line at its start, now and then one on the way, and one at its end."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._what = ""
        self._total: int | None = None
        self._told = 0.0

    def begin(self, what: str, *, total: int | None = None) -> None:
        self._what, self._total = what, total
        self._told = time.monotonic()
        self._write(f"{clean(what)} ...")

    def advance(self, done: int) -> None:
        if self._total and time.monotonic() - self._told >= _PLAIN_S:
            self._told = time.monotonic()
            self._write(f"{clean(self._what)}: {min(done / self._total, 1.0) * 100:.0f} %")

    def note(self, text: str) -> None:
        if time.monotonic() - self._told >= _PLAIN_S:
            self._told = time.monotonic()
            self._write(f"{clean(self._what)}: {clean(text)}")

    def end(self) -> None:
        self._write(f"✓ {clean(self._what)}")

    def clear(self) -> None:
        """Nothing is unfinished on a line of its own."""

    def _write(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class Steps:
    """The listener of one command, as a context manager: nothing half drawn stays behind."""

    def __init__(self, *, quiet: bool) -> None:
        self._shown: LineProgress | PlainProgress | None = None
        if not quiet:
            live = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
            self._shown = LineProgress(sys.stderr) if live else PlainProgress(sys.stderr)

    def __enter__(self) -> Progress:
        return Silent() if self._shown is None else self._shown

    def __exit__(self, kind: type[BaseException] | None, *_rest: object) -> None:
        if kind is not None and self._shown is not None:
            self._shown.clear()


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
