# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, and the check that some do not meet."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from sbx.cli.app import App, Format

F = TypeVar("F", bound="Callable[..., Any]")

_GIVEN = "sbx.format"  # in the context: the option that chose the format
pass_app = click.make_pass_decorator(App)


def _choose(ctx: click.Context, given: str, chosen: Format | None) -> None:
    before: str | None = ctx.meta.get(_GIVEN)
    if before is not None and before != given:
        raise click.UsageError(f"{before} and {given} cannot be used together", ctx)
    ctx.meta[_GIVEN] = given
    if chosen is not None:
        ctx.ensure_object(App).format = chosen


def _on_format(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        _choose(ctx, "--format", Format(value))


def _on_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        _choose(ctx, "--json", Format.JSON)


def _on_quiet(ctx: click.Context, param: click.Parameter, value: bool) -> bool:
    if value:
        _choose(ctx, "--quiet", None)
    return value


def format_options(function: F) -> F:
    """`--format` and `--json`, which set the format of the running call."""
    function = click.option(
        "--json", is_flag=True, expose_value=False, is_eager=True, callback=_on_json,
        help="Print JSON (the same as --format json)",
    )(function)  # fmt: skip
    return click.option(
        "--format", type=click.Choice([f.value for f in Format]), metavar="FORMAT",
        expose_value=False, is_eager=True, callback=_on_format,
        help="Print as table, json or yaml (default table)",
    )(function)  # fmt: skip


def formats_with(extra: str, *names: str) -> Callable[[F], F]:
    """`--json`, and `--format` with one more format; what was asked for is passed on as `form`."""

    def on_format(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value in (Format.JSON, Format.YAML):
            ctx.ensure_object(App).format = Format(value)
        return value

    def on_json(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        if value:
            ctx.ensure_object(App).format = Format.JSON

    def decorate(function: F) -> F:
        function = click.option(
            "--json", is_flag=True, expose_value=False, is_eager=True, callback=on_json,
            help="Print JSON (the same as --format json)",
        )(function)  # fmt: skip
        return click.option(
            *names, "--format", "form", type=click.Choice([*(f.value for f in Format), extra]),
            metavar="FORMAT", is_eager=True, callback=on_format,
            help=f"Print as table, json, yaml or {extra} (default table)",
        )(function)  # fmt: skip

    return decorate


def quiet_option(text: str) -> Callable[[F], F]:
    """`-q`, which excludes `--format` and `--json`."""
    return click.option("-q", "--quiet", is_flag=True, is_eager=True, callback=_on_quiet, help=text)


def sandbox_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of sandboxes, for completion in a shell."""
    folder = ctx.ensure_object(App).paths.sandboxes
    names = sorted(_entries(folder))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def _entries(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError:
        return []


def kit_value_options(function: F) -> F:
    """`--kit-arg` and `--kit-args-file`."""
    function = click.option(
        "--kit-args-file", metavar="FILE", type=click.Path(),
        help="Read arguments of kits from a file, a NAME=VALUE on each line",
    )(function)  # fmt: skip
    return click.option(
        "--kit-arg", multiple=True, metavar="[KIT.]NAME=VALUE",
        help="Give an argument of a kit (repeat; wins over the file)",
    )(function)  # fmt: skip


def env_options(function: F) -> F:
    """`-e` and `--env-file`."""
    function = click.option(
        "--env-file", "env_files", multiple=True, metavar="FILE", type=click.Path(),
        help="Read environment variables from a file (repeat; later files win)",
    )(function)  # fmt: skip
    return click.option(
        "-e", "--env", "env", multiple=True, metavar="KEY[=VALUE]",
        help="Set a variable; KEY alone copies the host's value (repeat; wins over files)",
    )(function)  # fmt: skip
