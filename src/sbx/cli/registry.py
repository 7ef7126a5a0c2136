# SPDX-License-Identifier: Apache-2.0
"""The table of commands: what the top-level help shows, without importing any command.

`sbx --help` must cost little more than an empty Python, so each command's module is imported only
when that command is used.
"""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """One line of the top-level help. `module` is below `sbx.cli.commands` and holds `command`."""

    name: str
    module: str
    summary: str
    aliases: tuple[str, ...] = ()


SECTIONS: tuple[tuple[str, tuple[Verb, ...]], ...] = (
    (
        "Sandbox Commands",
        (
            Verb("apply", "apply", "Stage everything that a sandbox changed in your working tree"),
            Verb("cp", "cp", "Copy files between a sandbox and the host"),
            Verb("create", "create", "Create a sandbox without attaching to it"),
            Verb("df", "df", "Show what sandboxes and caches take on the disk"),
            Verb("diff", "diff", "Show what a sandbox changed, and what of it to look at"),
            Verb("exec", "exec_", "Run a command in a sandbox"),
            Verb("inspect", "inspect_", "Show everything about a sandbox"),
            Verb("ls", "ls", "List sandboxes", ("list",)),
            Verb("merge", "merge", "Merge a sandbox's commits into your branch"),
            Verb("prune", "prune", "Remove stopped sandboxes"),
            Verb("push", "push", "Let a sandbox have your branches as they are now"),
            Verb("rm", "rm", "Remove sandboxes", ("remove", "delete")),
            Verb("run", "run", "Create a sandbox, or attach to it, and run its agent"),
            Verb("stop", "stop", "Stop sandboxes and keep their files"),
        ),
    ),
    (
        "Management Commands",
        (
            Verb("diagnose", "diagnose", "Check what this machine needs to run sandboxes"),
            Verb("disk", "disk", "Change the disk of a sandbox"),
            Verb("policy", "policy", "Show and change what sandboxes may reach"),
            Verb("port", "port", "Publish ports of a sandbox on this host"),
            Verb("ports", "ports_", "List, publish or take back ports of a sandbox"),
            Verb("reset", "reset", "Remove all sandboxes, images, settings and state"),
            Verb(
                "secret",
                "secret",
                "Manage credentials that sandboxes use and never see",
                ("secrets",),
            ),
            Verb("settings", "settings_", "Show and change settings"),
            Verb("template", "template", "List, load, save and remove templates"),
        ),
    ),
    (
        "Experimental Commands",
        (
            Verb("kit", "kit_", "Check, show, make and publish kits"),
            Verb("setup", "setup", "Prepare this machine and show what was found"),
        ),
    ),
    (
        "Other Commands",
        (
            Verb("completion", "completion", "Print a completion script for a shell"),
            Verb("help", "help_", "Help about any command"),
            Verb("login", "login", "Choose the network policy, or sign in to a registry"),
            Verb("logout", "logout", "Forget the logins of registries"),
            Verb("version", "version", "Show version information"),
        ),
    ),
)

VERBS: dict[str, Verb] = {verb.name: verb for _title, verbs in SECTIONS for verb in verbs}
ALIASES: dict[str, str] = {alias: verb.name for verb in VERBS.values() for alias in verb.aliases}

# Verbs and flags of the original's cloud service: refused with one sentence, never half supported.
CLOUD_VERBS = ("attach", "move", "ttl", "volume")
CLOUD_FLAGS = (
    "--allow-network", "--cloud-api-url", "--image-ref", "--new", "--on-timeout", "--platform",
    "--ttl", "--volume", "-v",
)  # fmt: skip
