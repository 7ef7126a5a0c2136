# SPDX-License-Identifier: Apache-2.0
"""The options with which `create` and `run` make a sandbox, as one typed value."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import click

from sbx.cli.app import App
from sbx.cli.options import env_options, kit_value_options
from sbx.sandbox.spec import AccelChoice

_TEXTS = {
    "accel": "Who runs the guest's instructions: auto, kvm or tcg (default: setting machine.accel)",
    "template": "Template to start from: a tag, or an image of a registry (default: the agent's)",
    "pull": "When to fetch that image: always, missing or never (default: always if it was pulled)",
    "disk": "Size of the disk, sparse, such as 40g (default: setting sandbox.disk)",
    "memory": "Memory, such as 512m or 8g (default: half of the host's, at most 32g)",
    "cpus": "Processors; 0 for all of the host's (default 0)",
    "deny": "Deny hosts to this sandbox, whatever the policy allows (repeat, or a comma list)",
    "publish": "Publish a port: [[HOST_IP:]HOST_PORT:]SANDBOX_PORT[/PROTOCOL] (repeat)",
    "timings": "Show where the time of the start went (also: SBX_TIMINGS=1)",
    "git_unsafe": "Leave .git/hooks, .git/config and the like writable inside",
    "private": "Folder below the workspace that the sandbox has on its own disk (repeat)",
    "masks": "Pattern, as in .gitignore, of what is empty inside (repeat; also: .sbxignore)",
    "clone": "Work in a clone of the repository, or of an https URL, on the sandbox's own disk",
    "branch": "Work in a hidden worktree on this branch of the repository; auto finds a name",
    "kit": "Add a mixin: a folder (./…), an archive, git+https://…, or an image (repeat)",
    "kit_secret": "Let kits put the secret of a service of their own where they say (repeat)",
    "name": "Name of the sandbox (default: <agent>-<workspace folder>)",
}


class PullPolicy(StrEnum):
    """What `--pull` takes."""

    ALWAYS = "always"
    MISSING = "missing"
    NEVER = "never"


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What was given of these options; None is not given."""

    name: str | None
    cpus: int | None
    memory: str | None
    disk: str | None
    template: str | None
    pull: str | None
    accel: str | None
    branch: str | None
    clone: bool
    masks: tuple[str, ...]
    private: tuple[str, ...]
    git_unsafe: bool
    kits: tuple[str, ...]
    kit_arg: tuple[str, ...]
    kit_args_file: str | None
    kit_secrets: tuple[str, ...]
    env: tuple[str, ...]
    env_files: tuple[str, ...]
    deny_network: tuple[str, ...]
    publish: tuple[str, ...]
    quiet: bool


NO_OPTIONS = Typed(
    name=None,
    cpus=None,
    memory=None,
    disk=None,
    template=None,
    pull=None,
    accel=None,
    kits=(),
    kit_arg=(),
    kit_args_file=None,
    kit_secrets=(),
    env=(),
    env_files=(),
    deny_network=(),
    publish=(),
    branch=None,
    clone=False,
    masks=(),
    private=(),
    git_unsafe=False,
    quiet=False,
)


def creation_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options; the function gets them as `typed`."""

    @functools.wraps(function)
    def gathered(*args: Any, **given: Any) -> Any:
        typed = Typed(**{field.name: given.pop(field.name) for field in fields(Typed)})
        return function(*args, typed=typed, **given)

    def on_timings(ctx: click.Context, param: click.Parameter, value: bool) -> None:
        del param
        ctx.ensure_object(App).timings |= value

    kinds = click.Choice([choice.value for choice in AccelChoice])
    for decorate in (
        click.option("-q", "--quiet", "--no-progress", "quiet", is_flag=True, help="No progress"),
        click.option(
            "--timings",
            is_flag=True,
            expose_value=False,
            callback=on_timings,
            help=_TEXTS["timings"],
        ),
        click.option("--accel", type=kinds, metavar="KIND", help=_TEXTS["accel"]),
        click.option("--deny-network", multiple=True, metavar="PATTERN", help=_TEXTS["deny"]),
        env_options,
        click.option(
            "-p", "--publish", "publish", multiple=True, metavar="SPEC", help=_TEXTS["publish"]
        ),
        kit_value_options,
        click.option(
            "--kit-secret",
            "kit_secrets",
            multiple=True,
            metavar="SERVICE",
            help=_TEXTS["kit_secret"],
        ),
        click.option("--kit", "kits", multiple=True, metavar="REF", help=_TEXTS["kit"]),
        click.option(
            "--pull",
            type=click.Choice([policy.value for policy in PullPolicy]),
            metavar="POLICY",
            help=_TEXTS["pull"],
        ),
        click.option("-t", "--template", metavar="TEMPLATE", help=_TEXTS["template"]),
        click.option("--disk", metavar="SIZE", help=_TEXTS["disk"]),
        click.option("-m", "--memory", metavar="SIZE", help=_TEXTS["memory"]),
        click.option("--cpus", type=click.IntRange(min=0), metavar="N", help=_TEXTS["cpus"]),
        click.option("--git-unsafe", is_flag=True, help=_TEXTS["git_unsafe"]),
        click.option("--private", "private", metavar="PATH", multiple=True, help=_TEXTS["private"]),
        click.option("--mask", "masks", metavar="PATTERN", multiple=True, help=_TEXTS["masks"]),
        click.option("--clone", is_flag=True, help=_TEXTS["clone"]),
        click.option("--branch", metavar="NAME|auto", help=_TEXTS["branch"]),
        click.option("--name", metavar="NAME", help=_TEXTS["name"]),
    ):
        gathered = decorate(gathered)
    return gathered
