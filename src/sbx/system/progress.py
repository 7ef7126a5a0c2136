# SPDX-License-Identifier: Apache-2.0
"""How long work tells what it is doing, without knowing who listens."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """A listener for one piece of long work at a time."""

    def begin(self, what: str, *, total: int | None = None) -> None:
        """A step starts; `total` is its size in any unit, if known."""

    def advance(self, done: int) -> None:
        """So much of `total` is done by now (absolute, not a difference)."""

    def note(self, text: str) -> None:
        """A detail of the current step, such as a package's name; the newest one counts."""

    def end(self) -> None:
        """The step is complete."""


class Silent:
    """Tells nobody."""

    def begin(self, what: str, *, total: int | None = None) -> None: ...
    def advance(self, done: int) -> None: ...
    def note(self, text: str) -> None: ...
    def end(self) -> None: ...
