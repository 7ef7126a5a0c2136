# SPDX-License-Identifier: Apache-2.0
"""From the words of `create` and `run` to a request: agents, workspaces, sizes, names."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sbx.cli import engine
from sbx.cli.app import App
from sbx.cli.creation_options import NO_OPTIONS, Typed
from sbx.cli.environment import collect
from sbx.cli.output import clean, warn
from sbx.cli.prompt import ask_yes, can_ask
from sbx.errors import ConflictError, NotFoundError, UserError
from sbx.image.template import SHELL
from sbx.kit.builtin import ALIASES, NAMES, SPEC_FILE
from sbx.kit.reference import looks_like_kit
from sbx.lifecycle.branch import GitPlan, plan_branch, plan_clone, plan_url, repository_of
from sbx.lifecycle.request import CreateRequest
from sbx.sandbox.git import GitMode
from sbx.sandbox.name import check_name, default_name, free_name
from sbx.sandbox.ports import Publication
from sbx.sandbox.recipe import KitService
from sbx.sandbox.spec import AccelChoice, Mount, Resources, SandboxSpec
from sbx.sandbox.status import SandboxStatus
from sbx.sandbox.units import format_size
from sbx.vm.resources import choose_resources, host_capacity, memory_warning
from sbx.workspace.git.from_url import check_url, folder_name, is_url
from sbx.workspace.git.repository import Repository
from sbx.workspace.limits import many_files_warning, raise_file_limit
from sbx.workspace.mounts import (
    MissingPathError,
    ownership_warning,
    parse_mounts,
    private_paths,
)

if TYPE_CHECKING:
    from sbx.kit.compose import Composition
    from sbx.policy.patterns import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What was typed, checked, before defaults."""

    agent: str  # its name
    mounts: tuple[Mount, ...]
    typed: Typed
    env: dict[str, str]
    repository: Repository | None = None  # with --branch or --clone
    url: str | None = None  # with --clone: what is cloned inside
    deny_network: tuple[Resource, ...] = ()
    kits: Composition | None = None  # None: a plain shell


def want(app: App, agent: str, paths: Sequence[str], typed: Typed) -> Wanted:
    """Check what was typed, as far as it can be without looking at other sandboxes.

    Raises:
        UserError: something is not as it must be.
    """
    check_agent(agent)
    if typed.name is not None:
        check_name(typed.name)
    env = collect(typed.env, typed.env_files)
    url, paths = _url(paths, typed)
    found = mounts(app, paths)
    if typed.masks:
        from sbx.workspace.patterns import compile_patterns  # only for those who mask something

        compile_patterns(typed.masks)
    repository = None if url is not None else _repository(agent, found, typed)
    denied: tuple[Resource, ...] = ()
    if typed.deny_network:
        from sbx.policy.patterns import parse_resources  # not at every start

        denied = parse_resources(",".join(typed.deny_network))
    kits = _kits(app, ALIASES.get(agent, agent), typed)
    return Wanted(
        agent=kits.agent.spec.name if kits is not None else SHELL,
        mounts=found,
        typed=typed,
        env=env,
        repository=repository,
        url=url,
        deny_network=denied,
        kits=kits,
    )


def _kits(app: App, agent: str, typed: Typed) -> Composition | None:
    """What the words about kits mean; a plain shell is what the template starts anyway."""
    if agent == SHELL and not (typed.kits or typed.kit_arg or typed.kit_args_file):
        return None
    from sbx.cli.kits import KitArgs, choose  # the parser of kits costs a plain shell nothing

    return choose(app, agent, typed.kits, KitArgs(words=typed.kit_arg, file=typed.kit_args_file))


def _url(paths: Sequence[str], typed: Typed) -> tuple[str | None, Sequence[str]]:
    """The URL that is to be cloned, and the paths after it."""
    if not paths or not is_url(paths[0]) or Path(paths[0]).exists():
        return None, paths
    if not typed.clone:
        raise UserError(f"to work in a clone of `{clean(paths[0])}`, add --clone")
    if typed.branch is not None:
        raise UserError("--branch and --clone cannot be used together")
    if typed.private:
        raise UserError("--private is for shared folders: a clone is on the sandbox's own disk")
    return check_url(paths[0]), paths[1:]


def _repository(agent: str, found: Sequence[Mount], typed: Typed) -> Repository | None:
    """The repository for `--branch` or `--clone`, if one of them was given."""
    if typed.branch is not None and typed.clone:
        raise UserError("--branch and --clone cannot be used together")
    if typed.branch is None and not typed.clone:
        return None
    flag = "--clone" if typed.clone else "--branch"
    if not found:
        given = "--clone" if typed.clone else "--branch auto"
        raise UserError(
            f"{flag} requires a workspace", hint=f"Name it: sbx run {clean(agent)} . {given}"
        )
    if typed.clone and typed.private:
        raise UserError("--private is for shared folders: a clone is on the sandbox's own disk")
    return repository_of(found[0], flag=flag)


def check_agent(agent: str) -> None:
    """Raise NotFoundError unless the agent is built in, or the word names a kit."""
    if agent in NAMES or agent in ALIASES:
        return
    is_plain_folder = Path(agent).is_dir() and not (Path(agent) / SPEC_FILE).exists()
    if looks_like_kit(agent) and not is_plain_folder:
        return
    known = ", ".join(NAMES)
    looks_like_path = "/" in agent or agent.startswith(".") or Path(agent).is_dir()
    hint = (
        f"Name the agent first, such as: sbx run shell {clean(agent)}" if looks_like_path else None
    )
    raise NotFoundError(f'agent "{agent}" not found (available agents: {known})', hint=hint)


def mounts(app: App, paths: Sequence[str]) -> tuple[Mount, ...]:
    """Parse the path arguments; a workspace that is missing is made if the person says so."""
    where = app.paths
    private = (where.state, where.config, where.cache, where.runtime)
    try:
        return parse_mounts(paths, cwd=Path.cwd(), private=private)
    except MissingPathError as error:
        if not _is_primary(error.path, paths[0]):
            raise UserError(f"path not found: `{error.path}`", hint=error.hint) from error
        if not can_ask(app):
            text = f"workspace folder not found: `{error.path}`"
            raise UserError(text, hint=f"Run: mkdir -p {shlex.quote(str(error.path))}") from error
        if not ask_yes(f"Workspace {error.path} is not there yet. Create it?"):
            raise UserError("cancelled: nothing was changed") from error
        error.path.mkdir(parents=True)
    return parse_mounts(paths, cwd=Path.cwd(), private=private)


def _is_primary(missing: Path, argument: str) -> bool:
    return str(Path.cwd() / argument).startswith(str(missing))


def warn_of_limits(request: CreateRequest) -> None:
    """Tell what will work less well than the person may expect."""
    there = [mount for mount in request.mounts if mount.source.exists()]  # a worktree comes later
    text = ownership_warning(there, uid=os.geteuid())
    shared = [mount.source for mount in there if not mount.is_file]
    if request.git is not None and request.git.mode is GitMode.BRANCH:
        shared.append(request.git.repository)  # as many as the worktree will have
    many = many_files_warning(shared, limit=raise_file_limit())
    for warning in (text, many, memory_warning(request.resources, host_capacity())):
        if warning is not None:
            warn(clean(warning))


def request(app: App, wanted: Wanted, *, name: str) -> CreateRequest:
    """Fill in the defaults.

    Raises:
        UserError: a size is not one, or the host does not have that much.
    """
    accel = wanted.typed.accel or app.settings.text("machine.accel")
    plan = _git_plan(app, wanted, name)
    return CreateRequest(
        name=name,
        agent=wanted.agent,
        mounts=wanted.mounts if plan is None else plan.mounts,
        resources=_resources(app, wanted),
        template=_template(app, wanted),
        accel=AccelChoice(accel),
        env=wanted.env,
        workdir=None if plan is None else plan.workdir,
        git=None if plan is None else plan.work,
        masks=wanted.typed.masks,
        private_paths=private_paths(wanted.typed.private, wanted.mounts),
        git_unsafe=wanted.typed.git_unsafe,
        deny_network=wanted.deny_network,
        published=publications(wanted.typed),
        kits=wanted.kits,
        kit_hosts=_agrees(app, name, wanted.kits),
        kit_services=_services(app, wanted),
    )


def _git_plan(app: App, wanted: Wanted, name: str) -> GitPlan | None:
    if wanted.url is not None:
        return plan_url(app.paths, wanted.url, wanted.mounts, sandbox=name)
    repository, branch = wanted.repository, wanted.typed.branch
    if repository is None:
        return None
    if branch is None:
        return plan_clone(repository, wanted.mounts)
    return plan_branch(repository, wanted.mounts, branch, sandbox=name)


def publications(typed: Typed) -> tuple[Publication, ...]:
    """The ports that `--publish` names (UserError: one cannot be understood)."""
    if not typed.publish:
        return ()
    from sbx.sandbox.port_spec import parse_publication

    return tuple(map(parse_publication, typed.publish))


def agent_request(app: App, agent: str) -> CreateRequest | None:
    """What installs an agent without a sandbox of its own; None if nothing is to be installed."""
    wanted = want(app, agent, (), NO_OPTIONS)
    if wanted.kits is None or not wanted.kits.install:
        return None
    return request(app, wanted, name=wanted.agent)


def _agrees(app: App, name: str, kits: Composition | None) -> bool:
    """Under Locked Down: whether the person lets the kits reach the hosts that they name."""
    if kits is None:
        return False
    from sbx.lifecycle.kit_rules import withheld_hosts

    hosts = withheld_hosts(app.paths, kits)
    if not hosts:
        return False
    shown = clean(", ".join(hosts))
    if can_ask(app):
        return ask_yes(f"Locked Down: the kits want to reach {shown}. Allow that?")
    warn(
        f"Locked Down: the kits get no way to {shown}. "
        f"Run: sbx policy allow network HOST --sandbox {clean(name)}"
    )
    return False


def _services(app: App, wanted: Wanted) -> tuple[KitService, ...]:
    """The kits' own services whose secrets they may put into requests.

    Raises:
        UserError: one is named that no kit declares, or a host is none for a secret.
    """
    trusted = wanted.typed.kit_secrets
    found: tuple[KitService, ...] = ()
    if wanted.kits is not None and wanted.kits.credentials:
        from sbx.lifecycle.kit_services import services_of

        found = services_of(wanted.kits)
    if unknown := set(trusted) - {service.name for service in found}:
        known = ", ".join(service.name for service in found) or "none"
        raise UserError(
            f"no kit declares a service of its own with this name: {clean(min(unknown))}",
            hint=f"Such services here: {known}",
        )
    return tuple(one for one in found if one.name in trusted or _trusts(app, one))


def _trusts(app: App, service: KitService) -> bool:
    """Whether the person lets a kit say where a secret of theirs goes."""
    hosts = clean(", ".join(place.host for place in service.places))
    if can_ask(app):
        return ask_yes(f"A kit puts secret `{service.name}` into requests to {hosts}. Allow that?")
    warn(
        f"secret `{service.name}` is kept from the kit that puts it into requests to {hosts}. "
        f"To allow that, add: --kit-secret {service.name}"
    )
    return False


def _template(app: App, wanted: Wanted) -> str:
    """The agent's own template is built when it is missing; another one must be there."""
    sandbox = wanted.kits.agent.spec.sandbox if wanted.kits is not None else None
    own = sandbox.image if sandbox is not None and sandbox.image is not None else SHELL
    asked = wanted.typed.template or own
    if asked == SHELL:
        return asked
    from sbx.cli.templates import choose  # only for those who have some

    return choose(app, asked, wanted.typed, wanted.agent)


def _resources(app: App, wanted: Wanted) -> Resources:
    settings, typed = app.settings, wanted.typed
    return choose_resources(
        host_capacity(),
        cpus=settings.number("sandbox.cpus") if typed.cpus is None else typed.cpus,
        memory=typed.memory or settings.text("sandbox.memory") or _kit_memory(wanted),
        disk=typed.disk or settings.text("sandbox.disk"),
    )


def _kit_memory(wanted: Wanted) -> str | None:
    """The memory that the agent's kit works best with; what the user sets comes first."""
    sandbox = wanted.kits.agent.spec.sandbox if wanted.kits is not None else None
    return sandbox.resources.memory if sandbox and sandbox.resources else None


def new_name(app: App, wanted: Wanted) -> tuple[str, str | None]:
    """The name for a new sandbox, and the default name if that was taken.

    Raises:
        ConflictError: the name that was asked for is taken.
    """
    taken = frozenset(path.name for path in _folders(app))
    asked = wanted.typed.name
    if asked is not None:
        if asked in taken:
            raise ConflictError(
                f"a sandbox named `{asked}` already exists",
                hint=f"Use another --name, or attach to it with: sbx run --name {asked}",
            )
        return asked, None
    first = _default_name(wanted)
    name = free_name(first, taken)
    return name, None if name == first else first


def _default_name(wanted: Wanted) -> str:
    if wanted.url is not None:
        return default_name(wanted.agent, Path(folder_name(wanted.url)))
    primary = wanted.mounts[0].source if wanted.mounts else None
    branch = wanted.typed.branch
    if primary is None or branch is None or branch == "auto":
        return default_name(wanted.agent, primary)
    folder = f"{primary.name}-{branch}".replace("/", "-")
    return default_name(wanted.agent, primary.with_name(folder))


def _folders(app: App) -> list[Path]:
    folder = app.paths.sandboxes
    return list(folder.iterdir()) if folder.is_dir() else []


def find_same(app: App, wanted: Wanted) -> SandboxStatus | None:
    """The sandbox of this agent and workspace: that of the default name, else the last used."""
    if wanted.typed.branch == "auto":
        return None
    same = [one for one in engine.list_all(app) if _serves(one.spec, wanted)]
    preferred = _default_name(wanted)
    same.sort(
        key=lambda one: (one.spec.name == preferred, one.record.last_used_at or one.spec.created_at)
    )
    return same[-1] if same else None


def _serves(spec: SandboxSpec, wanted: Wanted) -> bool:
    if spec.agent != wanted.agent:
        return False
    if wanted.url is not None or (spec.git is not None and spec.git.url is not None):
        return spec.git is not None and spec.git.url == wanted.url
    if wanted.repository is not None:
        work = spec.git
        mode = GitMode.CLONE if wanted.typed.clone else GitMode.BRANCH
        if work is None or work.mode is not mode:
            return False
        if mode is GitMode.CLONE:
            return work.repository == wanted.repository.top
        asked = (wanted.repository.common_dir, wanted.typed.branch)
        return (work.common_dir, work.branch) == asked
    own = spec.mounts[0].source if spec.mounts else None
    return own == (wanted.mounts[0].source if wanted.mounts else None)


def summary(made: CreateRequest) -> str:
    """The block that tells what is made."""
    lines = [("sandbox", made.name), ("agent", made.agent)]
    if made.kits is not None and made.kits.mixins:
        lines.append(("kits", ", ".join(kit.spec.name for kit in made.kits.mixins)))
    lines += [("workspace", _describe(mount)) for mount in made.mounts]
    if made.git is not None and made.git.mode is GitMode.CLONE:
        lines.insert(2, ("workspace", f"{made.git.origin} (clone)"))
    elif not made.mounts:
        lines.append(("workspace", "none · no workspace bind mount"))
    if made.git is not None and made.git.url is None:
        what = made.git.branch or "detached"
        lines.append((made.git.mode.value, f"{what} (from {made.git.start[:12]})"))
    lines += [
        ("image", made.template),
        ("cpu", str(made.resources.cpus)),
        ("memory", format_size(made.resources.memory_bytes)),
    ]
    return "\n" + "\n".join(f"{key:<11}{clean(value)}" for key, value in lines) + "\n"


def _describe(mount: Mount) -> str:
    place = (
        str(mount.source) if mount.source == mount.target else f"{mount.source} → {mount.target}"
    )
    return f"{place} ({'ro' if mount.read_only else 'rw'})"
