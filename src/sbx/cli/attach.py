# SPDX-License-Identifier: Apache-2.0
"""One command inside a sandbox, on this terminal or these pipes: what `run` and `exec` share."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

import click

from sbx.agent.detach_keys import parse_detach_keys
from sbx.agent.session import (
    EndKind,
    ExecEnd,
    ExecRequest,
    Resize,
    Session,
    Signal,
    Streams,
    Terminal,
)
from sbx.cli import engine
from sbx.cli.app import App
from sbx.cli.output import clean, out
from sbx.cli.progress import Steps
from sbx.cli.terminal import RESET_MODES, raw_mode, window_size
from sbx.errors import TransientError
from sbx.lifecycle.session import SessionLease

F = TypeVar("F", bound="Callable[..., Any]")

# Without a terminal these go to the command inside; with one, keys do, and these end us.
_FORWARDED = (
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_PATIENCE = 3  # so many SIGINT, and we leave a command that does not
_DEFAULT_ROWS, _DEFAULT_COLUMNS = 24, 80

detach_option = click.option(
    "--detach-keys",
    metavar="KEYS",
    help="Keys that leave the session and let it go on (default: setting cli.detachKeys)",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A command and how to show it."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    tty: bool
    keys: bytes  # that detach
    user: str | None = None
    workdir: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a session ended for the caller."""

    status: int
    detached: bool


def detach_keys(app: App, given: str | None) -> bytes:
    """The bytes of the detach keys in force.

    Raises:
        UserError: they are not keys.
    """
    return parse_detach_keys(app.settings.text("cli.detachKeys") if given is None else given)


def run_agent(
    app: App, name: str, *, args: Sequence[str], env: Mapping[str, str], keys: bytes
) -> Ended:
    """Run the sandbox's own command with more arguments, on a terminal if we have one."""
    spec = engine.status(app, name).spec
    tty = os.isatty(0) and os.isatty(1)
    command = spec.recipe.interactive if tty and spec.recipe.interactive else spec.command
    return attach(app, name, Wanted(argv=(*command, *args), env=env, tty=tty, keys=keys))


def attach(app: App, name: str, wanted: Wanted) -> Ended:
    """Run a command in a sandbox, started if need be, until it ends or the detach keys are typed.

    Raises:
        SbxError: it cannot be reached, or the connection broke.
    """
    sys.stdout.flush()
    with _lease(app, name) as lease:
        end = _on_terminal(lease, wanted) if wanted.tty else _on_pipes(lease, wanted)
    if end.kind is EndKind.LOST:
        raise TransientError(
            f"connection to sandbox `{name}` was lost", hint=f"Run: sbx inspect {name}"
        )
    if end.kind is EndKind.FAILED and end.message:
        out(clean(end.message))  # where a container engine prints it
    return Ended(status=end.exit_status, detached=end.kind is EndKind.DETACHED)


@contextlib.contextmanager
def _lease(app: App, name: str) -> Generator[SessionLease]:
    """A session. Whether the sandbox runs is found out by asking for one: mostly it does."""
    with contextlib.ExitStack() as stack:
        try:
            lease = stack.enter_context(engine.session(app, name))
        except TransientError:
            # Standard error is the command's: a start is shown only to a person who watches.
            with Steps(quiet=not sys.stderr.isatty()) as progress:
                engine.start(app, name, progress)
            lease = stack.enter_context(engine.session(app, name))
        yield lease


def _on_pipes(lease: SessionLease, wanted: Wanted) -> ExecEnd:
    with _Controls() as controls, controls.forwarding():
        streams = Streams(stdin=0, stdout=1, stderr=2, close_outputs=True)
        return Session(lease.sock, watch=lease.watch).exec(
            _request(wanted, None), streams, controls=controls
        )


def _on_terminal(lease: SessionLease, wanted: Wanted) -> ExecEnd:
    is_ours = os.isatty(0)
    size = window_size(1) or window_size(0)
    shape = Terminal(
        rows=size.rows if size else _DEFAULT_ROWS, cols=size.columns if size else _DEFAULT_COLUMNS
    )
    streams = Streams(stdin=0, stdout=1, stderr=2)
    with contextlib.ExitStack() as stack:
        if is_ours:
            stack.enter_context(raw_mode(0))
        controls = stack.enter_context(_Controls())
        stack.enter_context(controls.resizing())
        reset = stack.enter_context(contextlib.ExitStack())
        reset.callback(_reset_modes)
        end = Session(lease.sock, watch=lease.watch).exec(
            _request(wanted, shape), streams, controls=controls, detach_keys=wanted.keys
        )
        if end.kind is EndKind.EXITED:  # it cleaned up itself
            reset.pop_all()
    if is_ours and end.kind is EndKind.DETACHED:
        out()
    return end


def _reset_modes() -> None:
    """The program inside goes on, or was cut off: it switched nothing off itself."""
    if os.isatty(1):
        with contextlib.suppress(OSError):
            os.write(1, RESET_MODES)


def _request(wanted: Wanted, terminal: Terminal | None) -> ExecRequest:
    return ExecRequest(
        argv=wanted.argv,
        env=dict(wanted.env),
        user=wanted.user,
        workdir=wanted.workdir,
        terminal=terminal,
    )


class _Controls:
    """Signals of this process, as the session takes them: a pipe wakes its poll loop."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._items: list[Resize | Signal] = []
        self._interrupts = 0

    def __enter__(self) -> _Controls:
        return self

    def __exit__(self, *_error: object) -> None:
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        return self._read

    def take(self) -> Sequence[Resize | Signal]:
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 4096)
        found, self._items = self._items, []
        return found

    @contextlib.contextmanager
    def forwarding(self) -> Generator[None]:
        """Send our signals on to the command."""
        with _handlers(dict.fromkeys(_FORWARDED, self._on_signal)):
            yield

    @contextlib.contextmanager
    def resizing(self) -> Generator[None]:
        """Tell new sizes of our terminal."""
        with _handlers({signal.SIGWINCH: self._on_resize}):
            yield

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._interrupts += 1
            if self._interrupts >= _PATIENCE:
                raise KeyboardInterrupt
        self._add(Signal(number=number))

    def _on_resize(self, _number: int, _frame: FrameType | None) -> None:
        size = window_size(1) or window_size(0)
        if size is not None:
            self._add(Resize(rows=size.rows, cols=size.columns))

    def _add(self, item: Resize | Signal) -> None:
        self._items.append(item)
        with contextlib.suppress(BlockingIOError):  # full: it is awake already
            os.write(self._write, b"!")


_Handler = Callable[[int, FrameType | None], None]


@contextlib.contextmanager
def _handlers(wanted: Mapping[signal.Signals, _Handler]) -> Generator[None]:
    """Set signal handlers for the block; a signal that is ignored (nohup) stays ignored."""
    chosen = {n: h for n, h in wanted.items() if signal.getsignal(n) is not signal.SIG_IGN}
    before = {number: signal.signal(number, handler) for number, handler in chosen.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
