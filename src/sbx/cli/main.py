# SPDX-License-Identifier: Apache-2.0
"""The command `sbx`: parse, run one command, and turn every way out into an exit status."""

from __future__ import annotations

import contextlib
import gc
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from sbx.cli.app import App
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Root
from sbx.cli.report import report_crash, report_error, report_os_error, report_usage
from sbx.errors import SbxError
from sbx.system.outgoing import go_out_by

_EXAMPLES = """
# A login shell in a sandbox that sees the current folder
sbx run shell .

# Run a command in it
sbx exec shell-myproject uname -a

# What is there, and away with it
sbx ls
sbx rm shell-myproject
"""


# A command makes little garbage, and all that it imports looks like some to a collector.
_GARBAGE = 50_000  # objects; Python's own is 700


class Ended(SystemExit):
    """A signal asked us to end; cleaning up happens on the way out."""


def _main(ctx: click.Context) -> None:
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


root = Root(
    name="sbx",
    callback=click.pass_context(_main),
    help="Run coding agents in sandboxes, each a virtual machine of its own.",
    invoke_without_command=True,
    examples=_EXAMPLES,
)


def program() -> NoReturn:
    """The process `sbx`: run the command line and end.

    The interpreter is not taken apart: that frees memory which the kernel frees at once, and costs
    a tenth of a short command. Threads are waited for, as usual.
    """
    gc.set_threshold(_GARBAGE, 10, 10)
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    if threading.active_count() == 1:
        os._exit(status)
    sys.exit(status)


def main(argv: Sequence[str] | None = None) -> int:
    """Run `sbx` with these arguments and return its exit status."""
    args = list(sys.argv[1:] if argv is None else argv)
    if "_SBX_COMPLETE" in os.environ:
        from sbx.cli.completion import complete

        return complete(root, os.environ["_SBX_COMPLETE"])
    app = App()
    go_out_by(lambda host, port: _own_proxy(app, host, port))
    return guarded(app, lambda: _invoke(app, args), args)


def _own_proxy(app: App, host: str, port: int) -> str | None:
    from sbx.cli.own_way import own_proxy

    return own_proxy(app, host, port)


def guarded(app: App, act: Callable[[], int], argv: Sequence[str] = ()) -> int:
    """Do something; whatever way it ends, clean up, say it in one place, and return the status."""
    _prepare_streams()
    _watch_signals()
    try:
        status = _reported(app, act, argv)
        sys.stdout.flush()
    except BrokenPipeError:
        status = _mute_stdout()
    return int(status)


def _reported(app: App, act: Callable[[], int], argv: Sequence[str]) -> int:
    try:
        return act()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return ExitStatus.INTERRUPTED
    except Ended as end:
        return end.code if isinstance(end.code, int) else ExitStatus.FAILURE
    except click.ClickException as error:
        return report_usage(app, error, argv)
    except SbxError as error:
        return report_error(app, error)
    except BrokenPipeError:
        raise
    except OSError as error:
        return report_os_error(app, error)
    except Exception as error:  # noqa: BLE001 - nobody else catches it: keeps the traceback, says one sentence
        return report_crash(app, error)


def _invoke(app: App, args: list[str]) -> int:
    """Run the command; its return value is its exit status, None is success."""
    try:
        with root.make_context("sbx", args, obj=app) as ctx:
            status: object = root.invoke(ctx)
    except click.exceptions.Exit as end:
        return end.exit_code
    finally:
        if app.standby is not None:
            app.standby.close()
    return status if isinstance(status, int) else ExitStatus.OK


def _prepare_streams() -> None:
    """Standard streams that the caller closed become /dev/null: nothing else gets their numbers."""
    while (fd := os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)) <= 2:
        pass
    os.close(fd)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            null = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115 - open to the end
            setattr(sys, name, null)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # where `✓` is unknown, it is shown as an escape
            stream.reconfigure(errors="backslashreplace")


def _watch_signals() -> None:
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # nohup(1) sets SIG_IGN, and means it
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> None:
    raise Ended(128 + number)


def _mute_stdout() -> ExitStatus:
    """The reader went away: end quietly, also when Python flushes at its exit."""
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)
    return ExitStatus.BROKEN_PIPE
