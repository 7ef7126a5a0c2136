# SPDX-License-Identifier: Apache-2.0
"""Completion in shells: click's own for bash, zsh and fish, and one for PowerShell."""

from __future__ import annotations

import os

import click
from click.shell_completion import (
    BashComplete,
    CompletionItem,
    ShellComplete,
    add_completion_class,
    get_completion_class,
    split_arg_string,
)

from sbx.cli.app import App
from sbx.cli.exit_status import ExitStatus

PROGRAM = "sbx"
VARIABLE = "_SBX_COMPLETE"
SHELLS = ("bash", "zsh", "fish", "powershell")

_POWERSHELL = """\
Register-ArgumentCompleter -Native -CommandName %(prog_name)s -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $env:COMP_WORDS = $commandAst.ToString()
    $env:COMP_WORD = $wordToComplete
    $env:%(complete_var)s = "powershell_complete"
    %(prog_name)s | ForEach-Object {
        $value, $help = $_ -split "`t", 2
        if (-not $help) { $help = $value }
        $kind = 'ParameterValue'
        [System.Management.Automation.CompletionResult]::new($value, $value, $kind, $help)
    }
    Remove-Item Env:COMP_WORDS, Env:COMP_WORD, Env:%(complete_var)s
}
"""


class PowerShellComplete(ShellComplete):
    """Completion for PowerShell: one `value<tab>help` per line."""

    name = "powershell"
    source_template = _POWERSHELL

    def get_completion_args(self) -> tuple[list[str], str]:
        words = split_arg_string(os.environ.get("COMP_WORDS", ""))[1:]
        incomplete = os.environ.get("COMP_WORD", "")
        if words and incomplete and words[-1] == incomplete:
            words.pop()
        return words, incomplete

    def format_completion(self, item: CompletionItem) -> str:
        return f"{item.value}\t{item.help or ''}"


class OwnBashComplete(BashComplete):
    """click's, without starting a bash to ask for its version each time a script is printed."""

    @staticmethod
    def _check_version() -> None:
        """The script needs bash 4.4 (2016), which every Debian that can run sbx is beyond."""


def _classes() -> None:
    add_completion_class(PowerShellComplete)
    add_completion_class(OwnBashComplete, "bash")


def script(root: click.Command, shell: str) -> str:
    """The text to load into a shell."""
    _classes()
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(root, {}, PROGRAM, VARIABLE).source()


def complete(root: click.Command, instruction: str) -> int:
    """Answer a shell that asks what could come next (`bash_complete`)."""
    _classes()
    shell, _, what = instruction.partition("_")
    kind = get_completion_class(shell)
    if kind is None or what != "complete":
        return ExitStatus.FAILURE
    click.echo(kind(root, {"obj": App()}, PROGRAM, VARIABLE).complete())
    return ExitStatus.OK
