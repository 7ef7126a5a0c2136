# SPDX-License-Identifier: Apache-2.0
"""`sbx setup`: install what is missing, build the parts once, and report what was found."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from sbx.cli.app import App, Format
from sbx.cli.checks import host
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import Command
from sbx.cli.logs import set_up_logs
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import emit, out, warn
from sbx.cli.progress import Steps
from sbx.cli.prompt import ask_yes, can_ask
from sbx.errors import HostError, PermanentError
from sbx.image.store import ImageStore
from sbx.store.paths import make_private
from sbx.system.process import base_env, popen
from sbx.system.progress import Progress

_EXAMPLES = """
sbx setup

# In a script: no questions
sbx setup --no-input

# With an agent, so that its first sandbox starts at once
sbx setup --agent claude

# Read every byte of the cached parts again; what is damaged is rebuilt
sbx setup --verify
"""


@click.command("setup", cls=Command, examples=_EXAMPLES)
@click.option(
    "--verify", is_flag=True, help="Check all digests of cached parts, and rebuild what is damaged"
)
@click.option(
    "--agent", "agents", multiple=True, metavar="AGENT",
    help="Install this agent ahead of time, so that its first sandbox starts at once (repeat)",
)  # fmt: skip
@click.option("-q", "--quiet", "--no-progress", "quiet", is_flag=True, help="Show no progress")
@format_options
@pass_app
def command(app: App, verify: bool, agents: tuple[str, ...], quiet: bool) -> ExitStatus:
    """Prepare this machine and show what was found.

    Installs the Debian packages that are missing (as root, else through sudo after a question), and
    builds the runtime, the guest tools and the base template where they are missing. Running it
    again changes nothing.
    """
    from sbx.lifecycle.warm import prepare

    set_up_logs(debug=app.debug)
    make_private(app.paths)
    _install(app)
    store = ImageStore(app.paths.cache)
    with Steps(quiet=quiet) as progress:
        damaged = store.verify_full(progress) if verify else ()
        prepared = store.prepare(progress)
        warm = prepare(app.paths.cache, progress)
        installed = _install_agents(app, agents, progress)
    parts = {
        "runtime": prepared.runtime.digest,
        "tools": prepared.tools.digest,
        "template": prepared.template.digest,
        **installed,
    }
    if app.format is Format.TABLE:
        _report(parts, damaged, interactive=can_ask(app))
        if not warm:
            warn("no snapshot for warm starts could be made: sandboxes boot; see sbx diagnose")
    else:
        emit(app, {"parts": {**parts}, "rebuilt": list(damaged), "packages_missing": []})
    return ExitStatus.OK


def _install_agents(app: App, agents: Sequence[str], progress: Progress) -> dict[str, str]:
    """The digests of the templates of agents, by name; a plain shell needs none."""
    from sbx.cli import creation, engine

    found: dict[str, str] = {}
    for agent in agents:
        request = creation.agent_request(app, agent)
        if request is not None:
            made = engine.prepare_agent(app, request, progress)
            found[f"agent {request.agent}"] = made.digest
    return found


def _install(app: App) -> None:
    """Install missing packages.

    Raises:
        HostError: they are missing and may not be, or cannot be, installed.
    """
    missing = host.missing_packages()
    if not missing:
        return
    args = host.install_command(missing)
    names = ", ".join(package.name for package in missing)
    by_hand = HostError(f"missing packages: {names}", hint=f"Run: {' '.join(args)}")
    if app.no_input:
        raise by_hand
    if os.geteuid() != 0 and not (can_ask(app) and ask_yes(f"Install {names} with sudo?")):
        raise by_hand
    # Its own words go to standard error; sudo asks for a password on the terminal by itself.
    child = popen(
        args,
        env={**base_env(), "DEBIAN_FRONTEND": "noninteractive"},
        stdout=sys.stderr.fileno(),
        stderr=None,
    )
    if child.wait() != 0:
        raise PermanentError(f"packages were not installed: {names}", hint=f"Run: {' '.join(args)}")


def _report(parts: dict[str, str], damaged: tuple[str, ...], *, interactive: bool) -> None:
    if not interactive:
        out("(non-interactive: showing detected configuration only)\n")
    out("PREREQUISITES")
    out(f"  ✓ {len(host.packages())} packages installed")
    for kind, digest in parts.items():
        out(f"  ✓ {kind} {digest[:12]}")
    for part in damaged:
        out(f"  ! {part} was missing or damaged, and has been rebuilt")
    for title in ("SECRETS", "SKILLS", "GOVERNANCE", "MCP"):
        out(f"\n{title}\n  none")
    out("\nTo check this machine, run:\n  sbx diagnose")
    out("\nTo start a sandbox in the current folder, run:\n  sbx run shell .")
