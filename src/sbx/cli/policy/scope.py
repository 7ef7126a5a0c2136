# SPDX-License-Identifier: Apache-2.0
"""What the verbs of `sbx policy` share: the option `--sandbox`, and names that must be known."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click
from click.shell_completion import CompletionItem

from sbx.cli import engine
from sbx.cli.app import App
from sbx.cli.options import sandbox_names
from sbx.cli.output import clean, warn
from sbx.errors import NotFoundError, SbxError
from sbx.lifecycle.enforce import enforce_policy
from sbx.policy.hosts import Protocol
from sbx.store import records
from sbx.store.rules import read_policy

F = TypeVar("F", bound="Callable[..., Any]")


def sandbox_option(text: str) -> Callable[[F], F]:
    """`--sandbox`, whose value a command checks with `known_sandbox`."""
    return click.option(
        "--sandbox", metavar="SANDBOX", shell_complete=sandbox_names, help=text
    )  # fmt: skip


def http_options(function: F) -> F:
    """`--method` and `--path`."""
    function = click.option(
        "--path", metavar="GLOB", help="Only requests of these paths, such as /v1/** (HTTP rule)"
    )(function)  # fmt: skip
    return click.option(
        "--method", metavar="METHOD,...", help="Only these HTTP methods, or ANY (HTTP rule)"
    )(function)  # fmt: skip


def rule_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of rules, for completion in a shell."""
    del param
    try:
        rules = read_policy(ctx.ensure_object(App).paths)
    except SbxError:
        return []
    names = [rule.name for rule in rules.rules()] if rules else []
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def known_sandbox(app: App, name: str | None) -> str | None:
    """The name itself, if there is such a sandbox.

    Raises:
        NotFoundError: there is none.
    """
    if name is not None and engine.known(name) not in records.names(app.paths):
        raise NotFoundError(f'sandbox not found: "{name}"', hint="Run: sbx ls")
    return name


def put_in_force(app: App) -> None:
    """Wait until running sandboxes have the changed policy; say it where that is not known."""
    for name, error in enforce_policy(app.paths).items():
        warn(
            f"sandbox {clean(name)} may not have the new policy in force yet: "
            f"{clean(error.message)}; it follows by itself"
        )


def one_protocol(text: str | None) -> Protocol:
    """The protocol that a question is about; TCP if none is named."""
    return Protocol.TCP if text is None else Protocol(text)
