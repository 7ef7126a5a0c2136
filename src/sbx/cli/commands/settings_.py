# SPDX-License-Identifier: Apache-2.0
"""`sbx settings`: show and change settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from sbx.cli.app import App, Format
from sbx.cli.group import Group
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import Json, emit, out, table, talk

if TYPE_CHECKING:
    from sbx.store.settings import Setting

_HEADERS = ("KEY", "VALUE", "SOURCE", "DESCRIPTION")
_SHORT = 48
_EXAMPLES = """
sbx settings ls
sbx settings set cli.confirmRemove false
"""


def _keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from sbx.store.settings import CATALOGUE

    return [
        CompletionItem(k.name, help=k.description)
        for k in CATALOGUE
        if k.name.startswith(incomplete)
    ]


@click.group("settings", cls=Group, examples=_EXAMPLES)
def command() -> None:
    """Show and change settings.

    A value comes from an environment variable, else from what `settings set` stored, else it is
    the default.
    """


@command.command("get", examples="sbx settings get machine.accel")
@click.argument("key", shell_complete=_keys)
@format_options
@pass_app
def _get(app: App, key: str) -> None:
    """Print the value in force."""
    from sbx.store.settings import find_key, show

    setting = app.settings.get(find_key(key).name)
    if app.format is Format.TABLE:
        out(show(setting.value))
    else:
        emit(app, _fields(setting))


@command.command("ls", examples="sbx settings ls\nsbx settings ls --json --all")
@click.option("--no-trunc", is_flag=True, help="Do not shorten descriptions")
@click.option(
    "--all", "everything", is_flag=True, help="List feature switches too (there are none now)"
)
@format_options
@pass_app
def _ls(app: App, no_trunc: bool, everything: bool) -> None:
    """List all settings with their values and where these come from."""
    from sbx.store.settings import show

    found = app.settings.all()
    if app.format is not Format.TABLE:
        emit(app, [_fields(setting) for setting in found], wrap="settings")
        return
    text = {s.key.name: s.key.description for s in found}
    if not no_trunc:
        text = {name: _shorten(words) for name, words in text.items()}
    rows = [[s.key.name, show(s.value) or '""', s.source, text[s.key.name]] for s in found]
    out(table(_HEADERS, rows))


@command.command("set", examples="sbx settings set sandbox.memory 4g")
@click.argument("key", shell_complete=_keys)
@click.argument("value")
@format_options
@pass_app
def _set(app: App, key: str, value: str) -> None:
    """Store a value for all later calls."""
    from sbx.store.settings import Source, load_settings, set_value, show

    stored = set_value(app.paths, key, value)
    in_force = load_settings(app.paths).get(stored.key.name)
    if in_force.source is Source.ENV:
        talk(f"WARN: {stored.key.env_var} is set and wins over the stored value")
    if app.format is Format.TABLE:
        talk(f"✓ {stored.key.name} is now {show(stored.value) or 'empty'}")
    else:
        emit(app, _fields(in_force))


@command.command("unset", examples="sbx settings unset sandbox.memory")
@click.argument("key", shell_complete=_keys)
@format_options
@pass_app
def _unset(app: App, key: str) -> None:
    """Remove a stored value, so that the default counts again."""
    from sbx.store.settings import unset_value

    there = unset_value(app.paths, key)
    if app.format is Format.TABLE:
        talk(f"✓ {key} is no longer set" if there else f"{key} was not set")
    else:
        emit(app, {"key": key, "action": "unset" if there else "unchanged"})


def _fields(setting: Setting) -> dict[str, Json]:
    return {
        "key": setting.key.name,
        "value": setting.value,
        "type": str(setting.key.type),
        "source": str(setting.source),
        "description": setting.key.description,
        "default": setting.key.default,
        "env_var": setting.key.env_var,
        "feature_flag": "",
        "requires_restart": setting.key.requires_restart,
    }


def _shorten(text: str) -> str:
    return text if len(text) <= _SHORT else text[: _SHORT - 1].rstrip() + "…"
