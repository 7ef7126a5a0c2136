# SPDX-License-Identifier: Apache-2.0
"""`sbx secret`: keys that sandboxes work with and never hold."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from sbx.cli import secret_views as views
from sbx.cli.app import App, Format
from sbx.cli.group import Group
from sbx.cli.options import format_options, pass_app, quiet_option, sandbox_names
from sbx.cli.output import Json, clean, emit, note, out, warn
from sbx.cli.prompt import ask_yes, can_ask, confirm
from sbx.cli.secret_input import choose_service, given, typed_or_piped, verify
from sbx.errors import NotFoundError, UserError

if TYPE_CHECKING:
    from sbx.credential.values import Value
    from sbx.secret.entries import Entry
    from sbx.secret.store import Saved

_EXAMPLES = """
# Asks for the key
sbx secret set anthropic

# From a password manager, or from a variable
op read op://dev/openai/key | sbx secret set openai
sbx secret set github --command 'gh auth token'

# A key of any other service
sbx secret set-custom --host api.example.com --env EXAMPLE_KEY --command 'pass example'

sbx secret ls
"""


def _services(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from sbx.credential.services import BY_NAME

    return [CompletionItem(name) for name in BY_NAME if name.startswith(incomplete)]


_sandbox_option = click.option(
    "--sandbox", metavar="SANDBOX", shell_complete=sandbox_names,
    help="For this sandbox only (it beats one for all sandboxes)",
)  # fmt: skip
_global_option = click.option(
    "-g", "--global", "everywhere", is_flag=True, help="For all sandboxes (the default)"
)
_ref_option = click.option(
    "--ref", metavar="URI", help="Fetch it when needed: op://VAULT/ITEM/FIELD, or an AWS secret ARN"
)
_command_option = click.option(
    "--command", "shell_command", metavar="CMD", help="Fetch it when needed: what this prints"
)
_refresh_option = click.option(
    "--refresh", metavar="on-demand|DURATION",
    help="How long a fetched value counts (default 55m)",
)  # fmt: skip


@click.group("secret", cls=Group, examples=_EXAMPLES)
def command() -> None:
    """Manage credentials that sandboxes use and never see.

    Values are kept in the keychain of your session, or in a file that only you can read. On the
    way out the proxy puts them into requests to the hosts they are for, and nowhere else.
    """


@command.command("set", examples=_EXAMPLES)
@click.argument("names", metavar="[SERVICE]", nargs=-1, shell_complete=_services)
@_sandbox_option
@_global_option
@click.option(
    "-t", "--token", metavar="TOKEN", help="The value (others can see it: rather pipe it)"
)
@click.option("-f", "--force", is_flag=True, help="Overwrite without asking")
@_ref_option
@_command_option
@_refresh_option
@click.option("--no-verify", is_flag=True, help="Do not try a reference now")
@click.option("--show-error", is_flag=True, help="Show what a reference's program says if it fails")
@click.option("--registry", metavar="HOST", help="Store the login of a container registry")
@click.option("--username", metavar="USER", help="Its user name")
@click.option("--password-stdin", is_flag=True, help="Read its password from standard input")
@click.option("--all-sandboxes", is_flag=True, help="Give a registry login to all sandboxes")
@click.option("--registry-auth-endpoint", "auth_endpoint", metavar="URL", default="",
              help="Where the registry hands out tokens, if elsewhere")  # fmt: skip
@pass_app
def _set(
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

    scope, rest = _scoped(names, sandbox, everywhere=everywhere)
    _one_of({"--token": token, "--ref": ref, "--command": shell_command})
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
    entry = _referring(entry, ref, shell_command, refresh)
    force = _may_overwrite(app, entry, force=force)
    value = None
    if entry.reference:
        if not no_verify:
            verify(entry, show_error=show_error)
    else:
        instead = f"YOUR_COMMAND | sbx secret set {entry.name}"
        what = f"Password for {registry}" if registry else f"Key for {entry.name}"
        value = given(token) if token is not None else typed_or_piped(app, what, instead=instead)
    _report(_save(app, entry, value, force=force))


@command.command(
    "set-custom",
    examples="sbx secret set-custom --host api.example.com --env EXAMPLE_KEY --command 'pass key'",
)
@click.argument("names", metavar="", nargs=-1)
@click.option("--host", "hosts", multiple=True, required=True, metavar="HOST",
              help="A host that may get it: a name, *.NAME or **.NAME (repeat)")  # fmt: skip
@click.option("--env", "variable", required=True, metavar="VAR",
              help="The variable that holds the placeholder inside")  # fmt: skip
@click.option("-t", "--value", "--token", "text", metavar="VALUE", help="The value")
@_ref_option
@_command_option
@_refresh_option
@click.option("--placeholder", metavar="TEXT", help="Its form; {rand} is 16 random characters")
@_sandbox_option
@_global_option
@click.option("--no-verify", is_flag=True, help="Do not try a reference now")
@pass_app
def _set_custom(
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

    scope, rest = _scoped((*names, ""), sandbox, everywhere=everywhere)
    if any(rest):
        raise click.UsageError("set-custom takes flags only")
    _one_of({"--value": text, "--ref": ref, "--command": shell_command}, needed=True)
    entry = replace(
        new_entry(Kind.CUSTOM, check_variable(variable), sandbox=scope),
        hosts=tuple(dict.fromkeys(parse_host_pattern(host) for host in hosts)),
        placeholder=make_placeholder(placeholder or DEFAULT),
    )
    entry = _referring(entry, ref, shell_command, refresh)
    if entry.reference and not no_verify:
        verify(entry, show_error=False)
    saved = _save(app, entry, given(text) if text is not None else None, force=False)
    _report(saved)
    out(f"Placeholder: {saved.entry.placeholder}")


@command.command("ls", examples="sbx secret ls\nsbx secret ls --sandbox my-sandbox --json")
@click.argument("names", metavar="[SANDBOX]", nargs=-1, shell_complete=sandbox_names)
@_global_option
@_sandbox_option
@click.option("--service", metavar="SERVICE", help="Only of this service", shell_complete=_services)
@format_options
@quiet_option("Print only the names, one per line")
@pass_app
def _ls(
    app: App,
    *,
    names: tuple[str, ...],
    everywhere: bool,
    sandbox: str | None,
    service: str | None,
    quiet: bool,
) -> None:
    """List secrets; values are masked."""
    from sbx.secret.entries import Kind, read_entries

    scope, _rest = _scoped((*names, ""), sandbox, everywhere=everywhere)
    found = [
        e
        for e in sorted(read_entries(app.paths), key=lambda e: (e.sandbox or "", e.name))
        if (scope is None or e.sandbox == scope)
        and (not everywhere or e.sandbox is None)
        and (service is None or (e.kind is Kind.SERVICE and e.name == service.lower()))
    ]
    custom = [e for e in found if e.kind is Kind.CUSTOM]
    plain = [e for e in found if e.kind is not Kind.CUSTOM]
    if app.format is not Format.TABLE:
        emit(app, views.document(plain, custom, env_only=_env_only(found)))
    elif quiet:
        for entry in found:
            out(clean(entry.name))
    elif found:
        views.tables(plain, custom)
    else:
        out(f'No secrets found for scope "{clean(scope)}"' if scope else "No secrets found")


@command.command("rm", examples="sbx secret rm anthropic\nsbx secret rm --all -f")
@click.argument("names", metavar="[SERVICE]", nargs=-1, shell_complete=_services)
@_sandbox_option
@_global_option
@click.option("-f", "--force", is_flag=True, help="Do not ask")
@click.option("--all", "everything", is_flag=True, help="All secrets, or all of the sandbox")
@click.option("--registry", metavar="HOST", help="The login of a registry")
@click.option("--placeholder", metavar="TEXT", help="The custom secret with this placeholder")
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="With --env: one of its hosts")
@click.option("--env", "variable", metavar="VAR", help="The custom secret in this variable")
@format_options
@pass_app
def _rm(
    app: App,
    *,
    names: tuple[str, ...],
    sandbox: str | None,
    everywhere: bool,
    force: bool,
    everything: bool,
    registry: str | None,
    placeholder: str | None,
    hosts: tuple[str, ...],
    variable: str | None,
) -> None:
    """Remove secrets. Running sandboxes lose them at once."""
    from sbx.secret.entries import Kind, read_entries
    from sbx.secret.store import remove

    scope, rest = _scoped(names, sandbox, everywhere=everywhere)
    service = rest[0].lower() if rest else None
    chosen = _one_of(
        {
            "SERVICE": service,
            "--all": "all" if everything else None,
            "--registry": registry,
            "--placeholder": placeholder,
            "--env": variable,
        },
        needed=True,
    )

    def fits(entry: Entry) -> bool:
        match chosen:
            case "--all":
                return scope is None or entry.sandbox == scope
            case "SERVICE":
                return (entry.kind, entry.name, entry.sandbox) == (Kind.SERVICE, service, scope)
            case "--registry":
                return (entry.kind, entry.name, entry.sandbox) == (Kind.REGISTRY, registry, scope)
            case "--placeholder":
                return entry.kind is Kind.CUSTOM and entry.placeholder == placeholder
            case _:
                return (entry.kind, entry.name, entry.sandbox) == (
                    Kind.CUSTOM, variable, scope,
                ) and set(hosts) <= set(entry.hosts)  # fmt: skip

    found = [entry for entry in read_entries(app.paths) if fits(entry)]
    if not found and chosen != "--all":
        raise NotFoundError("no such secret", hint="Run: sbx secret ls")
    if found and not force:
        what = ", ".join(sorted({entry.name for entry in found}))
        confirm(app, f"Delete {len(found)} secret(s): {what}?", instead="sbx secret rm … -f")
    for entry in remove(app.paths, found):
        warn(f"the keychain still holds the value of {clean(entry.name)}: it does not answer")
    _enforce(app)
    _print_deleted(app, found)


@command.command("import", examples="sbx secret import --all\nsbx secret import github --dry-run")
@click.argument("service", required=False, shell_complete=_services)
@click.option("--all", "everything", is_flag=True, help="All that are found")
@click.option("--force", is_flag=True, help="Overwrite secrets that are there")
@click.option("--dry-run", is_flag=True, help="Only show what would be imported")
@pass_app
def _import(app: App, service: str | None, everything: bool, force: bool, dry_run: bool) -> None:
    """Store the keys that variables of your environment hold, for all sandboxes.

    Variables alone count for nothing: a sandbox works only with what is stored.
    """
    import os

    from sbx.credential.services import HOST_VARIABLES
    from sbx.credential.values import check_value
    from sbx.secret.entries import Kind, Source, read_entries
    from sbx.secret.store import new_entry

    if service is not None and service not in HOST_VARIABLES:
        raise UserError(
            f'unknown service: "{clean(service)}"', hint=f"Use {', '.join(HOST_VARIABLES)}"
        )
    entries = [e for e in read_entries(app.paths) if e.kind is Kind.SERVICE and e.sandbox is None]
    there = {e.name: e for e in entries}
    count = 0
    for name, variables in HOST_VARIABLES.items():
        variable = next((v for v in variables if os.environ.get(v)), None)
        if variable is None or service not in (None, name):
            continue
        old = there.get(name)
        if old is not None and (old.source is Source.OAUTH or not force):
            out(f"Skipped {name}: there is a secret already")
            continue
        count += 1
        if dry_run:
            out(f"Would import {name} from {variable}")
        elif service or everything or _ask_each(app, name, variable):
            entry = new_entry(Kind.SERVICE, name)
            _report(_save(app, entry, check_value(os.environ[variable]), force=True))
    if not count:
        out("Nothing to import")


def _ask_each(app: App, name: str, variable: str) -> bool:
    if not can_ask(app):
        raise UserError("no service is named", hint="Run: sbx secret import --all")
    return ask_yes(f"Import {name} from {variable}?")


def _scoped(
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


def _one_of(options: dict[str, str | None], *, needed: bool = False) -> str | None:
    found = [name for name, value in options.items() if value is not None]
    if len(found) > 1:
        raise click.UsageError(f"{found[0]} and {found[1]} cannot be used together")
    if needed and not found:
        raise click.UsageError(f"one of {', '.join(options)} is needed")
    return found[0] if found else None


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


def _referring(
    entry: Entry, ref: str | None, shell_command: str | None, refresh: str | None
) -> Entry:
    from sbx.secret.entries import Source
    from sbx.secret.references import (
        DEFAULT_REFRESH_S,
        check_command,
        check_reference,
        parse_refresh,
    )

    if ref is None and shell_command is None:
        if refresh is not None:
            raise click.UsageError("--refresh goes with --ref or --command")
        return entry
    kept = DEFAULT_REFRESH_S if refresh is None else parse_refresh(refresh)
    if ref is not None:
        return replace(entry, source=Source.REF, reference=check_reference(ref), refresh_s=kept)
    text = check_command(shell_command or "")
    return replace(entry, source=Source.COMMAND, reference=text, refresh_s=kept)


def _may_overwrite(app: App, entry: Entry, *, force: bool) -> bool:
    from sbx.secret.store import exists

    if force or not exists(app.paths, entry):
        return force
    question = f"Overwrite the secret {entry.name} {views.where(entry)}?"
    confirm(app, question, instead="the same command with -f")
    return True


def _save(app: App, entry: Entry, value: Value | None, *, force: bool) -> Saved:
    from sbx.secret.store import save

    saved = save(app.paths, entry, value, overwrite=force)
    _enforce(app)
    return saved


def _enforce(app: App) -> None:
    """Return when running sandboxes have the change; one that does not answer follows by itself."""
    from sbx.lifecycle.enforce import enforce_policy

    for name, error in enforce_policy(app.paths).items():
        warn(f"sandbox {clean(name)} may not have the change yet: {error.message}")


def _report(saved: Saved) -> None:
    from sbx.secret.vaults import NO_KEYCHAIN

    if saved.in_file:
        warn(NO_KEYCHAIN)
    out(f"✓ Stored {clean(saved.entry.name)} {views.where(saved.entry)}")


def _print_deleted(app: App, found: list[Entry]) -> None:
    if app.format is not Format.TABLE:
        rows: list[Json] = [
            {"action": "removed", "resource": "secret", "name": e.name, "scope": views.scope(e)}
            for e in found
        ]
        emit(app, rows)
        return
    for entry in found:
        out(f"Deleted {clean(entry.name)} {views.where(entry)}")
    if not found:
        out("No secrets found")


def _env_only(found: list[Entry]) -> int:
    """Services whose key is only in a variable of the host, where it counts for nothing."""
    import os

    from sbx.credential.services import HOST_VARIABLES

    names = {entry.name for entry in found}
    return sum(
        name not in names and any(os.environ.get(v) for v in variables)
        for name, variables in HOST_VARIABLES.items()
    )
