# SPDX-License-Identifier: Apache-2.0
"""Where flags may stand, what is passed on untouched, and what help looks like."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from sbx.cli import group as module
from sbx.cli.app import App
from sbx.cli.group import Command, CommandLine, TailCommand, closest, tail
from sbx.cli.main import root
from tests.kit.installation import ROOT
from tests.unit.cli.conftest import Call

GOLDEN = ROOT / "tests/golden/help.txt"


@click.command("exec", cls=CommandLine)
@click.argument("sandbox")
@click.argument("argv", nargs=-1, required=True, type=click.UNPROCESSED)
@click.option("-i", "stdin", is_flag=True)
@click.option("-t", "--tty", is_flag=True)
@click.option("-u", "--user")
@click.option("-e", "--env", multiple=True)
def line(sandbox: str, argv: tuple[str, ...], **flags: object) -> tuple[object, ...]:
    """Takes a command line."""
    given = {name: value for name, value in flags.items() if value}
    return sandbox, argv, given


def parsed(command: click.Command, *args: str) -> object:
    with command.make_context("sbx", list(args), obj=App()) as context:
        return command.invoke(context)


LINES: list[tuple[list[str], object]] = [
    (["box", "ls"], ("box", ("ls",), {})),
    (["box", "ls", "-la", "--user", "x"], ("box", ("ls", "-la", "--user", "x"), {})),
    (["-it", "box", "bash"], ("box", ("bash",), {"stdin": True, "tty": True})),
    (["box", "-it", "bash", "-i"], ("box", ("bash", "-i"), {"stdin": True, "tty": True})),
    (["-u", "me", "box", "-e", "A=", "env"], ("box", ("env",), {"user": "me", "env": ("A=",)})),
    (["-ituroot", "box", "id"], ("box", ("id",), {"stdin": True, "tty": True, "user": "root"})),
    (["-tu", "root", "box", "id"], ("box", ("id",), {"tty": True, "user": "root"})),
    (["--user=root", "box", "id"], ("box", ("id",), {"user": "root"})),
    (["box", "--", "ls", "-l"], ("box", ("ls", "-l"), {})),
    (["box", "-t", "--", "ls"], ("box", ("ls",), {"tty": True})),
    (["--", "box", "ls"], ("box", ("ls",), {})),
    (["box", "--", "--", "x"], ("box", ("--", "x"), {})),
    (["box", "sh", "-c", "", "--"], ("box", ("sh", "-c", "", "--"), {})),
    (["box", "-"], ("box", ("-",), {})),
    (["box", "cat", "--help"], ("box", ("cat", "--help"), {})),
    (["box", "-D", "ls"], ("box", ("ls",), {})),
]  # fmt: skip


@pytest.mark.parametrize(("args", "expected"), LINES)
def test_flags_end_at_the_command(args: list[str], expected: object) -> None:
    assert parsed(line, *args) == expected


@pytest.mark.parametrize("args", [[], ["box"], ["-u"], ["box", "-x", "ls"], ["box", "-u"]])
def test_incomplete_command_lines_are_usage_errors(args: list[str]) -> None:
    with pytest.raises(click.UsageError):
        parsed(line, *args)


@click.command("run", cls=TailCommand)
@click.argument("words", nargs=-1)
@click.option("--rm", "remove", is_flag=True)
@click.pass_context
def run(ctx: click.Context, words: tuple[str, ...], remove: bool) -> tuple[object, ...]:
    """Takes a tail."""
    return words, remove, tail(ctx)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["shell", "."], (("shell", "."), False, ())),
        (["shell", ".", "--rm"], (("shell", "."), True, ())),
        (["--rm", "shell", "--", "--rm", "-c", "x"], (("shell",), True, ("--rm", "-c", "x"))),
        (["--", "a", "--", "b"], ((), False, ("a", "--", "b"))),
    ],
)
def test_words_after_two_dashes_are_the_agents(args: list[str], expected: object) -> None:
    assert parsed(run, *args) == expected


def test_global_flags_stand_before_or_after_the_verb() -> None:
    seen: list[App] = []

    @click.command("x", cls=Command)
    @click.pass_obj
    def command(app: App) -> None:
        seen.append(app)

    parsed(command, "--no-input", "--app-name", "a", "-D")
    (app,) = seen
    assert (app.no_input, app.app_name, app.debug) == (True, "a", True)


def test_the_near_word_is_offered() -> None:
    assert closest("inspct", ["inspect", "ls"]) == "inspect"
    assert closest("diag", ["diagnose"]) == "diagnose"
    assert closest("x", ["exec"]) is None


def helps() -> Iterator[str]:
    yield from _help(root, "sbx", None)


def _help(command: click.Command, name: str, parent: click.Context | None) -> Iterator[str]:
    context = click.Context(command, info_name=name, parent=parent, obj=App())
    yield f"==== {context.command_path}\n{context.get_help()}\n"
    if isinstance(command, click.Group):
        for below in command.list_commands(context):
            found = command.get_command(context, below)
            assert found is not None
            yield from _help(found, below, context)


def test_help_reads_as_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every word of every help text; after a change on purpose, delete the file and run this."""
    monkeypatch.setattr(module, "_columns", lambda: 100)
    text = "\n".join(helps())
    if not GOLDEN.exists():
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8")


def test_every_command_has_examples() -> None:
    for block in helps():
        assert "\nExamples:\n" in block or block.startswith("==== sbx\n"), block[:60]


def test_help_fits_a_narrow_terminal() -> None:
    long = [text for text in "\n".join(helps()).splitlines() if len(text) > 110]
    assert long == []


@pytest.mark.parametrize("alias", ["list", "remove", "delete"])
def test_aliases_lead_to_the_command(sbx: Call, alias: str) -> None:
    done = sbx(alias, "--help")
    assert done.status == 0
    assert f", {alias}" in done.out or f"  {alias}," in done.out


def test_help_of_a_command_is_the_same_text(sbx: Call) -> None:
    assert sbx("help", "settings", "set").out == sbx("settings", "set", "--help").out
    assert sbx("help", "nosuch").status == 1
    assert sbx("help", "ls", "x").status == 1


def test_no_option_is_hidden() -> None:
    context = click.Context(root)
    commands = [root, *(root.get_command(context, name) for name in root.list_commands(context))]
    options = [
        option
        for block in commands
        if block is not None
        for option in block.params
        if isinstance(option, click.Option)
    ]  # fmt: skip
    assert options
    assert [option.name for option in options if option.hidden or not option.help] == []


def test_columns_are_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    del tmp_path

    def wide(_fd: int) -> os.terminal_size:
        return os.terminal_size((300, 50))

    monkeypatch.setattr(os, "get_terminal_size", wide)
    assert module._columns() == 110  # pyright: ignore[reportPrivateUsage]
