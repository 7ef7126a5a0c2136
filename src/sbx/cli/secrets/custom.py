# SPDX-License-Identifier: Apache-2.0
"""`sbx secret set-custom`: a key of any other service."""

from __future__ import annotations

from dataclasses import replace

import click

from sbx.cli.app import App
from sbx.cli.group import Command
from sbx.cli.options import pass_app
from sbx.cli.output import out
from sbx.cli.secret_input import given, verify
from sbx.cli.secrets.options import (
    command_option,
    global_option,
    one_of,
    ref_option,
    refresh_option,
    sandbox_option,
    scoped,
)
from sbx.cli.secrets.saving import referring, report, save_entry


@click.command(
    "set-custom",
    examples="sbx secret set-custom --host api.example.com --env EXAMPLE_KEY --command 'pass key'",
    cls=Command,
)
@click.argument("names", metavar="", nargs=-1)
@click.option("--host", "hosts", multiple=True, required=True, metavar="HOST",
              help="A host that may get it: a name, *.NAME or **.NAME (repeat)")  # fmt: skip
@click.option("--env", "variable", required=True, metavar="VAR",
              help="The variable that holds the placeholder inside")  # fmt: skip
@click.option("-t", "--value", "--token", "text", metavar="VALUE", help="The value")
@ref_option
@command_option
@refresh_option
@click.option("--placeholder", metavar="TEXT", help="Its form; {rand} is 16 random characters")
@sandbox_option
@global_option
@click.option("--no-verify", is_flag=True, help="Do not try a reference now")
@pass_app
def command(
    app: App,
    *,
    names: tuple[str, ...],
    hosts: tuple[str, ...],
    variable: str,
    text: str | None,
    ref: str | None,
    shell_command: str | None,
    refresh: str | None,
    placeholder: str | None,
    sandbox: str | None,
    everywhere: bool,
    no_verify: bool,
) -> None:
    """Store a key of any service: a placeholder stands for it inside.

    The placeholder is in the environment of sandboxes that are created or started from now on. In
    headers of requests to the hosts, the value takes its place.
    """
    from sbx.credential.placeholders import DEFAULT, check_variable, make_placeholder
    from sbx.credential.places import parse_host_pattern
    from sbx.secret.entries import Kind
    from sbx.secret.store import new_entry

    scope, rest = scoped((*names, ""), sandbox, everywhere=everywhere)
    if any(rest):
        raise click.UsageError("set-custom takes flags only")
    one_of({"--value": text, "--ref": ref, "--command": shell_command}, needed=True)
    entry = replace(
        new_entry(Kind.CUSTOM, check_variable(variable), sandbox=scope),
        hosts=tuple(dict.fromkeys(parse_host_pattern(host) for host in hosts)),
        placeholder=make_placeholder(placeholder or DEFAULT),
    )
    entry = referring(entry, ref, shell_command, refresh)
    if entry.reference and not no_verify:
        verify(entry, show_error=False)
    saved = save_entry(app, entry, given(text) if text is not None else None, force=False)
    report(saved)
    out(f"Placeholder: {saved.entry.placeholder}")
