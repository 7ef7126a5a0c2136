# SPDX-License-Identifier: Apache-2.0
"""`sbx run`: attach to the sandbox of this agent and workspace, making it if there is none."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import click

from sbx.cli import attach, creation, engine, views
from sbx.cli.app import App, Format
from sbx.cli.creation_options import Typed, creation_options
from sbx.cli.environment import collect
from sbx.cli.exit_status import ExitStatus
from sbx.cli.group import TailCommand, tail
from sbx.cli.options import format_options, pass_app
from sbx.cli.output import clean, emit, note, out, talk, warn
from sbx.cli.policy.first_run import ensure_posture
from sbx.cli.progress import Steps
from sbx.cli.wayback import review_session
from sbx.errors import ConflictError, NotFoundError
from sbx.kit.builtin import NAMES
from sbx.kit.reference import looks_like_kit
from sbx.sandbox.name import check_name
from sbx.sandbox.state import State
from sbx.sandbox.status import SandboxStatus

_CREATION_ONLY = ("cpus", "memory", "disk", "template", "accel")
_EXAMPLES = """
# A login shell in a sandbox that sees the current folder
sbx run shell .

# One command, then remove the sandbox
sbx run --rm shell . -- -c 'make test'

# Attach to a sandbox by its name, from anywhere
sbx run --name shell-myproject

# In a clone of a repository, without a folder of this machine
sbx run shell https://github.com/me/app --clone

# Start it, keep it running, and go on
sbx run -d shell .
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    """The sandbox to attach to."""

    name: str
    created: bool
    env: dict[str, str]  # for this session only
    has_branch: bool  # or a clone: it ends with a review


@click.command("run", cls=TailCommand, examples=_EXAMPLES, options_metavar="[flags]")
@click.argument(
    "words", metavar="[AGENT] [PATH...] [-- AGENT_ARGS...]", nargs=-1, type=click.Path()
)
@click.option(
    "-d",
    "--detach",
    "--detached",
    "detach",
    is_flag=True,
    help="Start it, print its ID, and keep it running",
)
@click.option("--rm", "remove", is_flag=True, help="Remove the sandbox after the session")
@attach.detach_option
@creation_options
@format_options
@pass_app
@click.pass_context
def command(
    ctx: click.Context, app: App, *, words: tuple[str, ...], detach: bool, remove: bool,
    detach_keys: str | None, typed: Typed,
) -> int:  # fmt: skip
    """Create a sandbox, or attach to it, and run its agent.

    PATH is the workspace (default: the current folder). The same agent and workspace lead to the
    same sandbox, which is started if it is stopped. What follows `--` is passed to the agent. The
    exit status is the agent's.
    """
    _check(ctx, app, detach=detach, remove=remove, args=tail(ctx))
    engine.begin(app)
    keys = attach.detach_keys(app, detach_keys)
    target = _find(app, words, typed)
    if detach:
        return _leave_running(app, target.name)
    ended = attach.Ended(status=ExitStatus.FAILURE, detached=False)
    try:
        ended = attach.run_agent(app, target.name, args=tail(ctx), env=target.env, keys=keys)
        # Without a terminal standard error is the command's own, and may have been closed by it.
        if target.has_branch and not ended.detached and os.isatty(2):
            review_session(app, target.name)
    finally:
        if remove and not ended.detached:
            engine.remove(app, target.name, force=True)
    if ended.detached:
        talk(
            f"Detached; the session goes on. For another, run: sbx run --name {clean(target.name)}"
        )
    return ended.status


def _check(
    ctx: click.Context, app: App, *, detach: bool, remove: bool, args: Sequence[str]
) -> None:
    if detach and remove:
        raise click.UsageError("--detach and --rm cannot be used together", ctx)
    if detach and args:
        raise click.UsageError(
            "--detach starts no agent: arguments after `--` cannot be used with it", ctx
        )
    if app.format is not Format.TABLE and not detach:
        raise click.UsageError("--json and --format need --detach: the output is the agent's", ctx)


def _leave_running(app: App, name: str) -> int:
    engine.keep_running(app, name)
    one = engine.status(app, name)
    if app.format is Format.TABLE:
        out(one.spec.id)
    else:
        emit(app, views.row(one))
    return ExitStatus.OK


def _find(app: App, words: Sequence[str], typed: Typed) -> _Target:
    """The sandbox that is meant, up and running."""
    name: str | None = typed.name
    agent = words[0] if words else None
    paths = words[1:] or (".",)
    if name is None and agent is not None and len(words) == 1:
        name = _name_instead_of_agent(app, agent)
        agent = None if name is not None else agent
    found = engine.find(app, check_name(name)) if name is not None else None
    if found is not None:
        if agent is not None:
            _check_same(app, found, agent, words[1:])
        return _attach(app, found, typed)
    if agent is None:
        raise _nothing_to_run(name)
    wanted = creation.want(app, agent, paths, typed)
    same = creation.find_same(app, wanted) if name is None else None
    if same is not None:
        _tell_other_mounts(same, wanted)
        _tell_other_kits(same, wanted)
        return _attach(app, same, typed)
    return _create(app, wanted)


def _name_instead_of_agent(app: App, word: str) -> str | None:
    """`run NAME`, as older versions had it."""
    if word in NAMES or engine.find(app, word) is None:
        return None
    talk(f"hint: to attach to a sandbox by its name, run: sbx run --name {clean(word)}")
    return word


def _nothing_to_run(name: str | None) -> NotFoundError:
    known = ", ".join(NAMES)
    if name is None:
        return NotFoundError(
            f"no agent named (available agents: {known})", hint="Run: sbx run shell ."
        )
    return NotFoundError(
        f'sandbox not found: "{name}"', hint=f"To create it, run: sbx run --name {name} shell ."
    )


def _check_same(app: App, found: SandboxStatus, agent: str, paths: Sequence[str]) -> None:
    """What was typed beside `--name` must be true of that sandbox."""
    name = found.spec.name
    if not looks_like_kit(agent) and agent != found.spec.agent:
        creation.check_agent(agent)
        raise ConflictError(
            f"sandbox `{name}` already exists and runs agent `{found.spec.agent}`, not `{agent}`",
            hint=f"Leave the agent out: sbx run --name {name}",
        )
    if paths and not _is_workspace(app, found, paths):
        raise ConflictError(
            f"sandbox `{name}` has another workspace: `{_primary(found) or 'none'}`",
            hint=f"Leave the path out: sbx run --name {name}",
        )


def _is_workspace(app: App, found: SandboxStatus, paths: Sequence[str]) -> bool:
    work = found.spec.git
    if work is not None and work.url is not None:
        return paths[0] == work.url
    source = creation.mounts(app, paths)[0].source
    if work is not None:
        return source.is_relative_to(work.repository)
    return source == _primary(found)


def _primary(found: SandboxStatus) -> object:
    return found.spec.mounts[0].source if found.spec.mounts else None


def _tell_other_mounts(same: SandboxStatus, wanted: creation.Wanted) -> None:
    missing = [str(mount) for mount in wanted.mounts if mount not in same.spec.mounts]
    if missing:
        warn(
            f"sandbox {same.spec.name} was created without {', '.join(map(clean, missing))}; "
            "mounts cannot be added later"
        )


def _tell_other_kits(same: SandboxStatus, wanted: creation.Wanted) -> None:
    """Kits are carried out when a sandbox is made; what changes later does not reach it."""
    if wanted.kits is None:
        return
    then = {kit.name: kit.digest for kit in same.spec.recipe.kits}
    now = {kit.spec.name: kit.sources[0].bundle.digest for kit in wanted.kits.kits}
    other = [name for name, digest in now.items() if then.get(name) != digest]
    if other:
        warn(
            f"sandbox {same.spec.name} was created without, or with another, "
            f"{', '.join(map(clean, other))}; kits cannot be added later. "
            f"To make it anew, run: sbx rm {same.spec.name}"
        )


def _attach(app: App, found: SandboxStatus, typed: Typed) -> _Target:
    name = found.spec.name
    ignored = [f"--{option}" for option in _CREATION_ONLY if getattr(typed, option) is not None]
    if typed.deny_network:
        denied = shlex.join(typed.deny_network)
        raise ConflictError(
            f"sandbox `{name}` already exists: --deny-network is for its creation",
            hint=f"Run: sbx policy deny network --sandbox {name} {denied}",
        )
    if ignored:
        warn(f"{', '.join(ignored)} ignored: sandbox {name} already exists")
    env = collect(typed.env, typed.env_files)
    ensure_posture(app)
    if found.state is not State.RUNNING:
        with Steps(quiet=typed.quiet) as progress:
            engine.start(app, name, progress)
    _publish(app, found, typed)
    return _Target(name=name, created=False, env=env, has_branch=found.spec.git is not None)


def _publish(app: App, found: SandboxStatus, typed: Typed) -> None:
    """Publish what is not published yet, so that the same command can be given again."""
    new = [one for one in creation.publications(typed) if one not in found.record.published]
    if new:
        from sbx.lifecycle.ports import publish_ports

        publish_ports(app.paths, found.spec.name, new)


def _create(app: App, wanted: creation.Wanted) -> _Target:
    name, taken = creation.new_name(app, wanted)
    request = creation.request(app, wanted, name=name)
    if taken is not None:
        note(f"a sandbox named {taken} exists already; the new one is {name}")
    if not wanted.typed.quiet:
        talk(creation.summary(request))
    creation.warn_of_limits(request)
    ensure_posture(app, needed=bool(request.deny_network))
    with Steps(quiet=wanted.typed.quiet) as progress:
        engine.create(app, request, progress)
    if not wanted.typed.quiet:
        talk(f"✓ Created sandbox {name}")
    return _Target(name=name, created=True, env={}, has_branch=request.git is not None)
