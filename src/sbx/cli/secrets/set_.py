# SPDX-License-Identifier: Apache-2.0
"""`sbx secret set`: the key of a service, or of a container registry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click

from sbx.cli.app import App
from sbx.cli.group import Command
from sbx.cli.options import pass_app
from sbx.cli.output import note
from sbx.cli.secret_input import choose_service, given, piped_text, typed_or_piped, verify
from sbx.cli.secrets.options import (
    command_option,
    global_option,
    one_of,
    ref_option,
    refresh_option,
    sandbox_option,
    scoped,
    service_names,
)
from sbx.cli.secrets.saving import may_overwrite, referring, report, save_entry
from sbx.errors import UserError

if TYPE_CHECKING:
    from sbx.secret.entries import Entry


_EXAMPLES = """
# Asks for the key
sbx secret set anthropic

# From a password manager, or from a variable
op read op://dev/openai/key | sbx secret set openai
sbx secret set github --command 'gh auth token'

# A key of any other service
sbx secret set-custom --host api.example.com --env EXAMPLE_KEY --command 'pass example'

# The login that Claude Code has on this host
sbx secret set anthropic --oauth <~/.claude/.credentials.json

sbx secret ls
"""


@click.command("set", examples=_EXAMPLES, cls=Command)
@click.argument("names", metavar="[SERVICE]", nargs=-1, shell_complete=service_names)
@sandbox_option
@global_option
@click.option(
    "-t", "--token", metavar="TOKEN", help="The value (others can see it: rather pipe it)"
)
@click.option("-f", "--force", is_flag=True, help="Overwrite without asking")
@ref_option
@command_option
@refresh_option
@click.option("--oauth", is_flag=True,
              help="Store the tokens of a login, as the agent's own file has them")  # fmt: skip
@click.option("--no-verify", is_flag=True, help="Do not try a reference now")
@click.option("--show-error", is_flag=True, help="Show what a reference's program says if it fails")
@click.option("--registry", metavar="HOST", help="Store the login of a container registry")
@click.option("--username", metavar="USER", help="Its user name")
@click.option("--password-stdin", is_flag=True, help="Read its password from standard input")
@click.option("--all-sandboxes", is_flag=True, help="Give a registry login to all sandboxes")
@click.option("--registry-auth-endpoint", "auth_endpoint", metavar="URL", default="",
              help="Where the registry hands out tokens, if elsewhere")  # fmt: skip
@pass_app
def command(
    app: App,
    *,
    names: tuple[str, ...],
    sandbox: str | None,
    everywhere: bool,
    token: str | None,
    force: bool,
    ref: str | None,
    shell_command: str | None,
    refresh: str | None,
    oauth: bool,
    no_verify: bool,
    show_error: bool,
    registry: str | None,
    username: str | None,
    password_stdin: bool,
    all_sandboxes: bool,
    auth_endpoint: str,
) -> None:
    """Store the key of a service, or of a container registry.

    The value is read from standard input, or asked for.
    """
    from sbx.credential.services import BY_NAME, check_service_name
    from sbx.secret.entries import Kind
    from sbx.secret.store import new_entry

    scope, rest = scoped(names, sandbox, everywhere=everywhere)
    one_of({"--token": token, "--ref": ref, "--command": shell_command})
    if registry is not None:
        if rest or not (password_stdin or token):
            raise click.UsageError("--registry takes no SERVICE, and needs --password-stdin")
        entry = _registry(registry, scope, username, all_sandboxes=all_sandboxes)
        entry = replace(entry, auth_endpoint=auth_endpoint)
    else:
        if username or password_stdin or all_sandboxes or auth_endpoint:
            raise click.UsageError("these flags need --registry HOST")
        name = check_service_name(rest[0]) if rest else choose_service(app)
        entry = new_entry(Kind.SERVICE, name, sandbox=scope)
        if name not in BY_NAME:
            note(f"`{name}` is no built-in service: it is used where a kit declares it. Built in "
                 f"are: {', '.join(BY_NAME)}")  # fmt: skip
        if oauth:
            _only_tokens(token, ref, shell_command, refresh)
            _log_in(app, name, scope, force=force)
            return
    entry = referring(entry, ref, shell_command, refresh)
    force = may_overwrite(app, entry, force=force)
    value = None
    if entry.reference:
        if not no_verify:
            verify(entry, show_error=show_error)
    else:
        instead = f"YOUR_COMMAND | sbx secret set {entry.name}"
        what = f"Password for {registry}" if registry else f"Key for {entry.name}"
        value = given(token) if token is not None else typed_or_piped(app, what, instead=instead)
    report(save_entry(app, entry, value, force=force))


def _only_tokens(*others: str | None) -> None:
    if any(other is not None for other in others):
        raise click.UsageError("--oauth reads tokens from standard input, and takes no other value")


def _log_in(app: App, name: str, scope: str | None, *, force: bool) -> None:
    from sbx.credential.logins import LOGINS
    from sbx.credential.tokens import parse_tokens
    from sbx.secret.logins import login_entry

    known = {login.service: login for login in LOGINS}
    if name not in known:
        raise UserError(f"no login is known for `{name}`", hint=f"Known: {', '.join(known)}")
    entry = login_entry(name, scope)
    force = may_overwrite(app, entry, force=force)
    instead = f"sbx secret set {name} --oauth <~/{known[name].file}, or log in inside a sandbox"
    tokens = parse_tokens(piped_text(instead=instead))
    report(save_entry(app, entry, tokens.text(), force=force))


def _registry(
    host: str, sandbox: str | None, username: str | None, *, all_sandboxes: bool
) -> Entry:
    from sbx.policy.hosts import parse_endpoint
    from sbx.secret.entries import Kind
    from sbx.secret.store import new_entry

    parse_endpoint(host, default_port=443)
    if all_sandboxes and sandbox is not None:
        raise click.UsageError("--all-sandboxes and --sandbox cannot be used together")
    return replace(
        new_entry(Kind.REGISTRY, host.lower(), sandbox=sandbox),
        host_only=sandbox is None and not all_sandboxes,
        username=username or "",
    )
