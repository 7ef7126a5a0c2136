# SPDX-License-Identifier: Apache-2.0
"""`sbx cp`: copy files in and out, with docker's rules."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Generator
from typing import NamedTuple

import click

from sbx.agent.copy import OpenSession, copy_in, copy_out
from sbx.agent.file_session import FileSession
from sbx.agent.trees import TreeReport
from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.group import Command
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, clean, emit, talk, warn
from sbx.cli.progress import Steps
from sbx.errors import UserError
from sbx.sandbox.units import format_size

_EXAMPLES = """
# In, and out
sbx cp notes.txt shell-myproject:/home/agent/
sbx cp shell-myproject:/var/log ./logs

# What is in a folder, without the folder itself
sbx cp ./config/. shell-myproject:/etc/app
"""


class _Place(NamedTuple):
    """One side: a path of a sandbox, or of the host."""

    sandbox: str | None
    path: str


@click.command("cp", cls=Command, examples=_EXAMPLES)
@click.option(
    "-L", "--follow-link", "follow", is_flag=True, help="Copy what symbolic links lead to"
)
@click.argument("src", metavar="SRC", type=click.Path())
@click.argument("dst", metavar="DST", type=click.Path())
@format_options
@pass_app
def command(app: App, src: str, dst: str, follow: bool) -> None:
    """Copy files between a sandbox and the host.

    Exactly one side is SANDBOX:/absolute/path. A folder is copied into a folder that is there, else
    it gets the new name; `FOLDER/.` is what is in it. Modes are kept; copies on the host belong to
    you, copies in the sandbox to its user. A stopped sandbox is started.
    """
    engine.begin(app)
    source, target = parse_place(src), parse_place(dst)
    sandbox = _only_sandbox(source, target)
    with Steps(quiet=not sys.stderr.isatty()) as progress:
        engine.start(app, sandbox, progress)
    opener = _opener(app, sandbox)
    if source.sandbox is not None:
        report = copy_out(opener, source.path, target.path, follow=follow)
    else:
        report = copy_in(opener, source.path, target.path, follow=follow)
    for skipped in report.skipped:
        warn(f"not copied, {clean(skipped.reason)}: {clean(skipped.path)}")
    _tell(app, src, dst, report)


def parse_place(argument: str) -> _Place:
    """`NAME:/path` is in a sandbox; a path with a `/` or `.` before any colon is on the host.

    Raises:
        UserError: it names a sandbox and a path that is not absolute.
    """
    name, colon, path = argument.partition(":")
    if not colon or "/" in name or name in ("", ".", ".."):
        return _Place(None, argument)
    if not path.startswith("/"):
        raise UserError(
            f"path in a sandbox must be absolute: `{argument}`",
            hint=f"Use {name}:/path; a file of the host with a colon in its name is ./{argument}",
        )
    return _Place(name, path)


def _only_sandbox(source: _Place, target: _Place) -> str:
    if source.sandbox is not None and target.sandbox is not None:
        raise UserError("copying between sandboxes is not supported", hint="try: sbx cp --help")
    sandbox = source.sandbox or target.sandbox
    if sandbox is None:
        raise UserError("neither side names a sandbox", hint="Use SANDBOX:/path on one side")
    return sandbox


def _opener(app: App, sandbox: str) -> OpenSession:
    @contextlib.contextmanager
    def open_one() -> Generator[FileSession]:
        with engine.session(app, sandbox) as lease:
            yield FileSession(lease.sock)

    return open_one


def _tell(app: App, src: str, dst: str, report: TreeReport) -> None:
    if app.format is Format.TABLE:
        size = format_size(report.size_bytes)
        talk(f"✓ Copied {report.entries} entries ({size}) to {clean(dst)}")
        return
    document: Json = {
        "action": "copied",
        "source": src,
        "destination": dst,
        "entries": report.entries,
        "size_bytes": report.size_bytes,
        "skipped": [{"path": item.path, "reason": item.reason} for item in report.skipped],
    }
    emit(app, document)
