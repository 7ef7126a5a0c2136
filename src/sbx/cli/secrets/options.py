# SPDX-License-Identifier: Apache-2.0
"""What the verbs of `sbx secret` share of their options."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem

from sbx.cli.options import sandbox_names


def service_names(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from sbx.credential.services import BY_NAME

    return [CompletionItem(name) for name in BY_NAME if name.startswith(incomplete)]


sandbox_option = click.option(
    "--sandbox", metavar="SANDBOX", shell_complete=sandbox_names,
    help="For this sandbox only (it beats one for all sandboxes)",
)  # fmt: skip
global_option = click.option(
    "-g", "--global", "everywhere", is_flag=True, help="For all sandboxes (the default)"
)
ref_option = click.option(
    "--ref", metavar="URI", help="Fetch it when needed: op://VAULT/ITEM/FIELD, or an AWS secret ARN"
)
command_option = click.option(
    "--command", "shell_command", metavar="CMD", help="Fetch it when needed: what this prints"
)
refresh_option = click.option(
    "--refresh", metavar="on-demand|DURATION",
    help="How long a fetched value counts (default 55m)",
)  # fmt: skip


def scoped(
    names: tuple[str, ...], sandbox: str | None, *, everywhere: bool
) -> tuple[str | None, list[str]]:
    """The sandbox of `--sandbox` or, as in older versions, of a first word before the service."""
    from sbx.sandbox.name import check_name

    words = list(names)
    if len(words) == 2:
        first = words.pop(0)
        if sandbox not in (None, first):
            raise click.UsageError("two sandboxes are named")
        sandbox = first
    if len(words) > 1:
        raise click.UsageError("too many arguments")
    if sandbox is not None and everywhere:
        raise click.UsageError("--global and --sandbox cannot be used together")
    return (None if sandbox is None else check_name(sandbox)), [w for w in words if w]


def one_of(options: dict[str, str | None], *, needed: bool = False) -> str | None:
    found = [name for name, value in options.items() if value is not None]
    if len(found) > 1:
        raise click.UsageError(f"{found[0]} and {found[1]} cannot be used together")
    if needed and not found:
        raise click.UsageError(f"one of {', '.join(options)} is needed")
    return found[0] if found else None
