# SPDX-License-Identifier: Apache-2.0
"""Questions to the person at the terminal; without one, an error with the command to run."""

from __future__ import annotations

import sys

from sbx.cli.app import App
from sbx.cli.output import clean
from sbx.errors import UserError


def can_ask(app: App) -> bool:
    """Whether somebody is there to answer: a piped `y` does not count."""
    return not app.no_input and sys.stdin.isatty() and sys.stderr.isatty()


def confirm(app: App, question: str, *, instead: str) -> None:
    """Return if the person agrees.

    Raises:
        UserError: they declined, or nobody is there; `instead` is the command without a question.
    """
    if not can_ask(app):
        raise UserError(f"confirmation needed: {question}", hint=f"Run: {instead}")
    if not ask_yes(question):
        raise UserError("cancelled: nothing was changed")


def ask_yes(question: str) -> bool:
    """Ask a yes-or-no question on the terminal; anything but yes is no."""
    print(f"{clean(question)} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
