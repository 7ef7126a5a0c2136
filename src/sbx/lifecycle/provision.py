# SPDX-License-Identifier: Apache-2.0
"""What kits bring, carried out in a new sandbox, in its order; a step that fails ends it.

files/home, install, setup.files, the agent's memory file, startup, files/workspace. Everything runs
inside: the host writes only files of a kit, below folders of its own.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path

from sbx.agent.copy import copy_in
from sbx.agent.file_session import FileSession
from sbx.errors import PermanentError
from sbx.kit.bundle import KitFile
from sbx.kit.compose import Composition
from sbx.lifecycle.inside import Command, OnLine, run_inside
from sbx.lifecycle.memory_file import memory_files
from sbx.lifecycle.session import open_session
from sbx.sandbox.ports import LOOPBACK, PortProtocol, Publication
from sbx.sandbox.recipe import KitService, Recipe, Step, UsedKit
from sbx.sandbox.spec import SandboxSpec
from sbx.store.paths import Paths
from sbx.system.progress import Progress

_HOME = "/home/agent"
_AGENT = "agent"
_INSTALL_SECONDS = 1800.0
_SHORT_SECONDS = 60.0
_STAGE = "/var/tmp/sbx-kit-workspace"  # noqa: S108 - inside the sandbox
# $1 path, $2 mode, $3 not empty: keep what is there
_WRITE = """\
set -eu
[ -z "$3" ] || [ ! -e "$1" ] || exit 0
mkdir -p "$(dirname "$1")"
cat > "$1"
chmod "$2" "$1"
"""
# A user's own file is never replaced by one of a kit.
_MERGE = 'set -eu; cp -R --update=none "$1/." "$2/"; rm -rf "$1"'


def recipe_of(whole: Composition, services: tuple[KitService, ...]) -> Recipe:
    """What a sandbox keeps of its kits; `services`: those of their own that the user agreed to."""
    plain, terminal = whole.launch((), terminal=False), whole.launch((), terminal=True)
    return Recipe(
        interactive=terminal if terminal != plain else (),
        services=services,
        startup=tuple(
            Step(argv=step.command, user=step.user, background=bool(step.background))
            for step in whole.startup
        ),
        kits=tuple(
            UsedKit(
                name=kit.spec.name,
                resolved=kit.sources[0].resolved,
                digest=kit.sources[0].bundle.digest,
            )
            for kit in whole.kits
        ),
    )


def publications_of(whole: Composition, own: Sequence[Publication]) -> tuple[Publication, ...]:
    """The ports that kits want on the host, beside those that the user publishes: any free one."""
    taken = {(one.sandbox_port, one.protocol.transport) for one in own}
    wanted = dict.fromkeys((port.container, port.protocol.value or "tcp") for port in whole.ports)
    return tuple(
        Publication(
            host_ip=LOOPBACK,
            host_port=None,
            sandbox_port=number,
            protocol=PortProtocol(transport).of_family("4"),
        )
        for number, transport in wanted
        if (number, transport) not in taken
    )


def install(where: Paths, spec: SandboxSpec, whole: Composition, progress: Progress) -> None:
    """Put the files for the home folder there and run the install steps.

    Raises:
        PermanentError: a step failed, or took longer than it may.
        TransientError: the sandbox is gone.
    """
    _put_files(where, spec, whole.home_files, _HOME)
    for number, step in enumerate(whole.install, 1):
        what = step.description or step.command.strip().splitlines()[0][:60]
        progress.begin(f"Installing ({number}/{len(whole.install)}): {what}")
        command = Command(
            argv=("sh", "-c", step.command), user=step.user, timeout_s=_INSTALL_SECONDS,
        )  # fmt: skip
        _must(where, spec.name, command, f"install step failed: {what}", progress.note)
        progress.end()


def configure(where: Paths, spec: SandboxSpec, whole: Composition) -> None:
    """Write the files that depend on the sandbox (raises as `install`)."""
    for file in whole.setup_files:
        text = file.content.replace("${WORKDIR}", spec.workdir)
        _write(where, spec, file.path, text, mode=file.mode, keep=bool(file.only_if_missing))
    for path, text in memory_files(whole, name=spec.name, workdir=spec.workdir).items():
        _write(where, spec, f"{_HOME}/{path}", text, mode="0644", keep=False)


def provision_workspace(where: Paths, spec: SandboxSpec, whole: Composition) -> None:
    """Put the files for the workspace there; what is there stays (raises as `provision`)."""
    if not whole.workspace_files:
        return
    prepare = Command(argv=("mkdir", "-p", _STAGE), user=_AGENT)
    _must(where, spec.name, prepare, "cannot write into the sandbox")
    _put_files(where, spec, whole.workspace_files, _STAGE)
    merge = Command(argv=("sh", "-c", _MERGE, "sh", _STAGE, spec.workdir), user=_AGENT)
    _must(where, spec.name, merge, "cannot write files of a kit into the workspace")


def _write(where: Paths, spec: SandboxSpec, path: str, text: str, *, mode: str, keep: bool) -> None:
    own = path.startswith((f"{_HOME}/", f"{spec.workdir}/"))
    command = Command(
        argv=("sh", "-c", _WRITE, "sh", path, mode, "keep" if keep else ""),
        user=_AGENT if own else "0",
        stdin=text.encode() or b"\n",
        timeout_s=_SHORT_SECONDS,
    )
    _must(where, spec.name, command, f"cannot write `{path}` in the sandbox")


def _put_files(where: Paths, spec: SandboxSpec, files: Mapping[str, KitFile], target: str) -> None:
    """Copy files of kits into a folder of the sandbox, for the agent."""
    if not files:
        return

    @contextlib.contextmanager
    def session() -> Generator[FileSession]:
        with open_session(where, spec.name) as lease:
            yield FileSession(lease.sock)

    with tempfile.TemporaryDirectory(prefix="sbx-kit-") as name:
        _lay_out(Path(name), files)
        copy_in(session, f"{name}/.", target)


def _lay_out(root: Path, files: Mapping[str, KitFile]) -> None:
    """Write files of kits below a private folder; their names were checked when they were read."""
    for name, file in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.link is not None:
            path.symlink_to(file.link)
            continue
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, flags, 0o755 if file.executable else 0o644), "wb") as out:
            out.write(file.data)


def _must(
    where: Paths, name: str, command: Command, what: str, on_line: OnLine | None = None
) -> None:
    done = run_inside(where, name, command, on_line)
    if done.status != 0:
        raise PermanentError(f"{what}: {done.why}", details=done.output or None)
