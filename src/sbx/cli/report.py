# SPDX-License-Identifier: Apache-2.0
"""The one place where a failure becomes text and an exit status.

On standard error: `ERROR: ` and the sentence, the evidence, the hint on its own line. When JSON or
YAML was asked for, standard output holds one valid document on failure too: `{"error": {…}}`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from sbx import errors
from sbx.cli import registry
from sbx.cli.app import App, Format
from sbx.cli.exit_status import ExitStatus
from sbx.cli.output import clean, print_document, talk
from sbx.errors import SbxError, UserError

CRASH_FILE = "last-crash.txt"

_KINDS: tuple[tuple[type[SbxError], str], ...] = (
    (errors.NotFoundError, "not_found"),
    (errors.ConflictError, "conflict"),
    (errors.UserError, "user"),
    (errors.HostError, "host"),
    (errors.TransientError, "transient"),
    (errors.PermanentError, "permanent"),
    (errors.OutcomeUnknownError, "outcome_unknown"),
)


def report_error(app: App, error: SbxError, *, document: bool = True) -> ExitStatus:
    """Tell of a failure that has a sentence; `document` is false for one of several results."""
    talk(f"ERROR: {clean(error.message)}")
    for line in (error.details or "").splitlines():
        talk(f"    {clean(line)}")
    for line in (error.hint or "").splitlines():
        talk(f"  {clean(line)}")
    if document:
        _print_document(app, error)
    return ExitStatus.FAILURE


def report_usage(app: App, error: click.ClickException, argv: Sequence[str]) -> ExitStatus:
    """Tell of a command line that cannot be understood."""
    ctx = error.ctx if isinstance(error, click.UsageError) else None
    if ctx is not None and _takes_format(ctx.command) and app.format is Format.TABLE:
        app.format = _asked_format(argv)  # parsing ended before it was looked at
    return report_error(app, _usage_error(error, ctx))


def report_crash(app: App, error: Exception) -> ExitStatus:
    """Tell of a failure that nobody foresaw, and keep the traceback."""
    if app.debug:
        sys.stderr.write(_traceback(error))
    kept = _keep_traceback(app, error)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hint = "To see the traceback, add: --debug" if kept is None else f"The traceback is in {kept}"
    return report_error(app, errors.PermanentError(f"sbx failed unexpectedly: {what}", hint=hint))


def report_os_error(app: App, error: OSError) -> ExitStatus:
    """Tell of a refusal by the host that no layer below gave a sentence to."""
    if app.debug:
        sys.stderr.write(_traceback(error))
    _keep_traceback(app, error)
    where = f": `{error.filename}`" if error.filename is not None else ""
    text = f"the host refused{where}: {error.strerror or error}"
    return report_error(app, errors.HostError(text, hint="Run: sbx diagnose"))


def _print_document(app: App, error: SbxError) -> None:
    if app.format is Format.TABLE or app.printed:
        return
    kind = next((name for cls, name in _KINDS if isinstance(error, cls)), "error")
    fields = {"kind": kind, "message": error.message, "hint": error.hint, "details": error.details}
    print_document(app, {"error": {k: v for k, v in fields.items() if v is not None}})


def _usage_error(error: click.ClickException, ctx: click.Context | None) -> UserError:
    path = ctx.command_path if ctx is not None else "sbx"
    hint = f"Run: {path} --help"
    match error:
        case click.NoSuchOption():
            if error.option_name in registry.CLOUD_FLAGS:
                return UserError(
                    f"`{error.option_name}` is not supported: it belongs to cloud sandboxes",
                    hint="Leave it out: all sandboxes run on this machine",
                )
            if error.possibilities:
                hint = f"Did you mean: {sorted(error.possibilities)[0]}"
            return UserError(f"unknown flag: {error.option_name}", hint=hint)
        case click.MissingParameter():
            return UserError(_missing(error, ctx), hint=hint)
        case _:
            text = error.format_message().removesuffix(".")
            return UserError(text[:1].lower() + text[1:], hint=hint)


def _missing(error: click.MissingParameter, ctx: click.Context | None) -> str:
    param = error.param
    if param is None or ctx is None:
        return "an argument is missing"
    if not isinstance(param, click.Argument):
        return f"missing {max(param.opts, key=len)}"
    return f"missing {param.make_metavar(ctx).split()[0].strip('[].')}"


def _takes_format(command: click.Command) -> bool:
    return any(param.name == "format" for param in command.params)


def _asked_format(argv: Sequence[str]) -> Format:
    own = list(argv[: argv.index("--")] if "--" in argv else argv)
    for word, following in zip(own, [*own[1:], ""], strict=True):
        value = following if word == "--format" else word.removeprefix("--format=")
        if word == "--json" or (word.startswith("--format") and value == "json"):
            return Format.JSON
        if word.startswith("--format") and value == "yaml":
            return Format.YAML
    return Format.TABLE


def _keep_traceback(app: App, error: Exception) -> Path | None:
    """Write the traceback into the state folder, if that is possible."""
    from sbx.system.files import private_folder, write_atomic

    with contextlib.suppress(SbxError, OSError):
        path = private_folder(app.paths.state) / CRASH_FILE
        write_atomic(path, _traceback(error).encode(errors="backslashreplace"))
        return path
    return None


def _traceback(error: Exception) -> str:
    import traceback

    return "".join(traceback.format_exception(error))
