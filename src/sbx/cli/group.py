# SPDX-License-Identifier: Apache-2.0
"""The shape of commands: help as users of docker know it, global flags anywhere, lazy loading.

Global flags (`-D`, `--no-input`, …) may stand before or after the verb, so every command carries
them; a flag may stand before or after positional arguments.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from sbx.cli import registry
from sbx.cli.app import App
from sbx.errors import UserError

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

_TAIL = "sbx.tail"  # in the context: the words after `--`
_CLOUD_HINT = "Leave it out: all sandboxes run on this machine"


def _refuse_cloud(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        raise UserError("`--cloud` is not supported: sbx has no cloud service", hint=_CLOUD_HINT)


def _set_debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(App).debug = True


def _set_no_input(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(App).no_input = True


def _set_app_name(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        ctx.ensure_object(App).app_name = value


def _flag(names: Sequence[str], callback: Callable[..., None], text: str) -> click.Option:
    return click.Option(
        names, is_flag=True, expose_value=False, is_eager=True, callback=callback, help=text
    )


def global_options() -> list[click.Parameter]:
    """Fresh copies of the flags that every command takes."""
    return [
        click.Option(
            ["--app-name"],
            metavar="NAME",
            expose_value=False,
            is_eager=True,
            callback=_set_app_name,
            help="Use a separate set of sandboxes, settings and state (for scripting)",
        ),
        _flag(["--cloud"], _refuse_cloud, "Refused: sbx has no cloud service"),
        _flag(
            ["-D", "--debug"], _set_debug, "Show debug logs, and a traceback when sbx itself fails"
        ),
        _flag(
            ["--no-input"], _set_no_input, "Never prompt; fail and print the command to run instead"
        ),
    ]


GLOBAL_NAMES = frozenset(option.name for option in global_options())


class Command(click.Command):
    """A command with global flags and the layout of help that users of docker know."""

    examples: str = ""

    def __init__(self, *args: object, examples: str = "", **kwargs: object) -> None:
        kwargs.setdefault("options_metavar", "[flags]")
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own, passed on
        self.examples = examples
        self.params = [*self.params, *global_options()]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            error.ctx = error.ctx or ctx  # click's parser leaves it out for a missing value
            raise

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        return ["-h", "--help"]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = "Show this help"
        return option

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_head(self, ctx, formatter)
        _write_examples(self.examples, formatter)
        own = [p for p in self.get_params(ctx) if p.name not in GLOBAL_NAMES]
        _write_flags("Flags", own, ctx, formatter)
        _write_flags(
            "Global Flags", [p for p in self.params if p.name in GLOBAL_NAMES], ctx, formatter
        )


class TailCommand(Command):
    """A command whose words after `--` are not its own: they are `tail(ctx)`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        cut = args.index("--") if "--" in args else len(args)
        ctx.meta[_TAIL] = tuple(args[cut + 1 :])
        return super().parse_args(ctx, args[:cut])


def tail(ctx: click.Context) -> tuple[str, ...]:
    """The words after `--`, verbatim."""
    found: tuple[str, ...] = ctx.meta.get(_TAIL, ())
    return found


class CommandLine(Command):
    """`[flags] SANDBOX [flags] [--] COMMAND [ARG...]`: from COMMAND on nothing is looked at.

    The positional arguments must be two: the first word, and the rest with `nargs=-1`.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        ctx.allow_interspersed_args = False
        before, first, rest = self._cut(args)
        if first is not None and rest and rest[0].startswith("-") and rest[0] != "--":
            more, word, others = self._cut(rest)
            before, rest = before + more, others if word is None else [word, *others]
        if rest and rest[0] == "--":
            rest = rest[1:]
        words = [] if first is None else ["--", first, *rest]
        return super().parse_args(ctx, [*before, *words])

    def _cut(self, args: list[str]) -> tuple[list[str], str | None, list[str]]:
        """Flags with their values, the first word that is neither, and what follows it."""
        at = 0
        while at < len(args):
            word = args[at]
            if word == "--":
                return args[:at], (args[at + 1] if at + 1 < len(args) else None), args[at + 2 :]
            if word == "-" or not word.startswith("-"):
                return args[:at], word, args[at + 1 :]
            at += 2 if self._wants_next(word) else 1
        return args, None, []

    def _wants_next(self, word: str) -> bool:
        """Whether the value of this flag, or of the last in `-itu`, is the next word."""
        valued = {
            name
            for param in self.params
            if isinstance(param, click.Option) and not param.is_flag and not param.count
            for name in param.opts
        }
        if word.startswith("--"):
            return word in valued
        first = next((i for i, char in enumerate(word[1:], 1) if f"-{char}" in valued), None)
        return first == len(word) - 1


class Group(click.Group):
    """A command with commands of its own, such as `settings`."""

    command_class = Command
    examples: str = ""

    def __init__(self, *args: object, examples: str = "", **kwargs: object) -> None:
        kwargs.setdefault("options_metavar", "[flags]")
        kwargs.setdefault("subcommand_metavar", "COMMAND")
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # click's own, passed on
        self.examples = examples
        self.params = [*self.params, *global_options()]

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        return ["-h", "--help"]

    def get_help_option(self, ctx: click.Context) -> click.Option | None:
        option = super().get_help_option(ctx)
        if option is not None:
            option.help = "Show this help"
        return option

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return super().get_command(ctx, _own_aliases(self).get(cmd_name, cmd_name))

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        _write_head(self, ctx, formatter)
        _write_examples(self.examples, formatter)
        width = max(len(name) for name in self.commands)
        formatter.write("\nCommands:\n")
        for name, command in sorted(self.commands.items()):
            summary = command.get_short_help_str(120).removesuffix(".")
            formatter.write(f"  {name:<{width}}   {summary}\n")
        _write_flags("Flags", [self.get_help_option(ctx)], ctx, formatter)
        _write_flags(
            "Global Flags", [p for p in self.params if p.name in GLOBAL_NAMES], ctx, formatter
        )

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if self.get_command(ctx, name) is None:
            raise unknown_command(name, [*self.commands, *_own_aliases(self)], ctx)
        return super().resolve_command(ctx, args)


class Root(Group):
    """`sbx` itself: its commands are imported when used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(registry.VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        verb = registry.VERBS.get(registry.ALIASES.get(cmd_name, cmd_name))
        if verb is None:
            return None
        module = importlib.import_module(f"sbx.cli.commands.{verb.module}")
        found = module.command
        assert isinstance(found, click.Command)
        return found

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """From the table: importing every command would be felt at each press of the key."""
        from click.shell_completion import CompletionItem  # only on this path

        verbs = [v for v in registry.VERBS.values() if v.name.startswith(incomplete)]
        if verbs and not incomplete.startswith("-"):
            return [CompletionItem(verb.name, help=verb.summary) for verb in verbs]
        return click.Command.shell_complete(self, ctx, incomplete)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name in registry.CLOUD_VERBS:
            raise UserError(
                f"`sbx {name}` is not supported: sbx has no cloud service", hint="Run: sbx --help"
            )
        command = self.get_command(ctx, name)
        if command is None:
            raise unknown_command(name, [*registry.VERBS, *registry.ALIASES], ctx)
        return command.name, command, args[1:]

    def format_help(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write(f"{self.help}\n\nUsage:\n  sbx [command] [flags]\n")
        _write_examples(self.examples, formatter)
        for title, verbs in registry.SECTIONS:
            width = max(len(verb.name) for verb in registry.VERBS.values())
            formatter.write(f"\n{title}:\n")
            formatter.write("".join(f"  {v.name:<{width}}   {v.summary}\n" for v in verbs))
        flags = [p for p in self.params if p.name in GLOBAL_NAMES]
        _write_flags("Global Flags", [*flags, self.get_help_option(ctx)], ctx, formatter)
        formatter.write('\nUse "sbx [command] --help" for more information about a command.\n')


def unknown_command(name: str, known: Sequence[str], ctx: click.Context) -> UserError:
    """The error for a verb that is not there, with what was probably meant."""
    close = closest(name, known)
    hint = (
        f"Did you mean: {ctx.command_path} {close}" if close else f"Run: {ctx.command_path} --help"
    )
    return UserError(f'unknown command "{name}" for "{ctx.command_path}"', hint=hint)


def closest(word: str, known: Sequence[str]) -> str | None:
    """The known word that was probably meant, if any is near enough."""
    from difflib import get_close_matches  # only on this error path

    near = get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    starts = [k for k in known if len(word) > 1 and k.startswith(word.lower())]
    found = near or starts
    return found[0] if found else None


def _own_aliases(group: click.Group) -> dict[str, str]:
    found = {"list": "ls"} if "ls" in group.commands else {}
    if "rm" in group.commands:
        found |= dict.fromkeys(("remove", "delete", "unset"), "rm")
    return found


def _write_head(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    text = inspect.cleandoc(command.help or "")
    formatter.write(f"{text}\n\nUsage:\n")
    pieces = " ".join(command.collect_usage_pieces(ctx))
    formatter.write(f"  {ctx.command_path} {pieces}\n")
    aliases = [alias for alias, name in registry.ALIASES.items() if name == ctx.info_name]
    if aliases and ctx.info_name is not None:
        formatter.write(f"\nAliases:\n  {', '.join([ctx.info_name, *aliases])}\n")


def _write_examples(examples: str, formatter: click.HelpFormatter) -> None:
    if examples:
        lines = "\n".join(f"  {line}".rstrip() for line in examples.strip().splitlines())
        formatter.write(f"\nExamples:\n{lines}\n")


def _write_flags(
    title: str,
    params: Sequence[click.Parameter | None],
    ctx: click.Context,
    formatter: click.HelpFormatter,
) -> None:
    rows = [row for p in params if p is not None and (row := _flag_row(p, ctx)) is not None]
    if not rows:
        return
    formatter.write(f"\n{title}:\n")
    width = max(len(left) for left, _text in rows)
    room = max(40, _columns() - width - 5)
    for left, text in rows:
        first, *rest = _wrap(text, room)
        formatter.write(f"  {left:<{width}}   {first}\n")
        formatter.write("".join(f"  {'':<{width}}   {line}\n" for line in rest))


def _flag_row(param: click.Parameter, ctx: click.Context) -> tuple[str, str] | None:
    if not isinstance(param, click.Option) or param.hidden:
        return None
    short = [name for name in param.opts if not name.startswith("--")]
    long = [name for name in param.opts if name.startswith("--")]
    value = "" if param.is_flag or param.count else f" {param.make_metavar(ctx)}"
    lead = f"{short[0]}, " if short else "    "
    return f"{lead}{', '.join(long)}{value}", param.help or ""


def _columns() -> int:
    try:
        return min(max(os.get_terminal_size(2).columns, 60), 110)
    except OSError:
        return 100


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines
