# SPDX-License-Identifier: Apache-2.0
"""How a secret's value reaches us: piped, typed without echo, or by a reference."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from sbx.cli.app import App
from sbx.cli.output import talk, warn
from sbx.cli.prompt import can_ask
from sbx.errors import UserError

if TYPE_CHECKING:
    from sbx.credential.values import Value
    from sbx.secret.entries import Entry

_MAX_PIPED = 64 * 1024


def typed_or_piped(app: App, what: str, *, instead: str) -> Value:
    """The value from standard input: all of it if piped, else asked for without echo.

    Raises:
        UserError: it is no value, or nobody is there to type it.
    """
    from sbx.credential.values import check_value

    if not sys.stdin.isatty():
        return check_value(_piped())
    if not can_ask(app):
        raise UserError(f"a value is needed: {what}", hint=f"Run: {instead}")
    from getpass import getpass

    try:
        text = getpass(f"{what}: ", stream=sys.stderr)
    except EOFError:
        text = ""
    return check_value(text)


def piped_text(*, instead: str) -> str:
    """All of standard input, which is no terminal.

    Raises:
        UserError: it is one, or holds no text.
    """
    if sys.stdin.isatty():
        raise UserError("the tokens are read from standard input", hint=f"Run: {instead}")
    return _piped()


def given(text: str) -> Value:
    """A value that was given as an argument, where other users of the machine can see it.

    Raises:
        UserError: it is no value.
    """
    from sbx.credential.values import check_value

    warn("a value on the command line can be seen by other users, and stays in your shell history")
    return check_value(text)


def choose_service(app: App) -> str:
    """Ask which service is meant.

    Raises:
        UserError: nobody is there to answer, or the answer is none of them.
    """
    from sbx.credential.services import BY_NAME

    names = list(BY_NAME)
    if not can_ask(app):
        raise UserError(
            "no service is named", hint=f"Run: sbx secret set SERVICE ({', '.join(names)})"
        )
    for number, name in enumerate(names, 1):
        talk(f"  {number:>2}. {name}")
    print("Service (number or name): ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline().strip().lower()
    if answer.isdecimal() and 1 <= int(answer) <= len(names):
        return names[int(answer) - 1]
    if answer not in names:
        raise UserError("no such service: nothing was changed")
    return answer


def verify(entry: Entry, *, show_error: bool) -> None:
    """Fetch the value behind a reference once, so that a mistake is seen now.

    Raises:
        SbxError: it gives none.
    """
    from sbx.secret.references import fetch

    fetch(entry, show_error=show_error)


def _piped() -> str:
    try:
        text = sys.stdin.read(_MAX_PIPED + 1)
    except UnicodeDecodeError:
        raise UserError("the value is no text") from None
    if len(text) > _MAX_PIPED:
        raise UserError("the value is too long")
    return text
