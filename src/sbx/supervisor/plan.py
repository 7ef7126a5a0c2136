# SPDX-License-Identifier: Apache-2.0
"""What a bring-up works with: the sandbox's spec, its folders, and the parts it stands on."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import PermanentError
from sbx.image.store import ImageStore
from sbx.sandbox.git import GitMode
from sbx.sandbox.parts import Accel, GuestTools, Layer, RuntimeBundle
from sbx.sandbox.ports import Publication
from sbx.sandbox.spec import Mount, SandboxSpec
from sbx.store import paths as names
from sbx.store.paths import Paths
from sbx.system.cgroup import Cgroup, CgroupSupport, make_cgroup
from sbx.system.files import private_folder
from sbx.vm.accel import choose_accel
from sbx.vm.resources import host_limits
from sbx.workspace.gate.gate import GateRules
from sbx.workspace.git import seed
from sbx.workspace.shields import gate_rules, git_shields, mask_shields, read_patterns


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The prepared files that one sandbox needs."""

    runtime: RuntimeBundle
    tools: GuestTools
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything a bring-up is given."""

    where: Paths
    spec: SandboxSpec
    folder: Path
    is_first_start: bool  # it was never up, so whatever is on its data disk is nobody's
    cgroups: CgroupSupport
    approvals: bool = False  # the user is asked about what no rule allows
    stops_on_canary: bool = False  # a placeholder that goes astray ends the sandbox
    published: tuple[Publication, ...] = ()  # ports of the host that lead to the sandbox

    @property
    def mounts(self) -> tuple[Mount, ...]:
        """What the user shares, and what branch and clone mode need beside it."""
        work = self.spec.git
        own = seed.mounts(work, self.folder / names.GIT_SEED) if work is not None else ()
        return self.spec.mounts + own

    def shields(self) -> tuple[tuple[Mount, ...], GateRules]:
        """What of the mounts the sandbox may not write or not see; found anew at each start.

        Raises:
            SbxError: something cannot be shielded.
        """
        spec = self.spec
        patterns: list[str] = []
        if (
            spec.git is not None and spec.git.url is None and spec.mounts
        ):  # the user's own file counts, committed or not
            patterns += read_patterns(spec.git.repository)
        patterns += spec.masks
        empty = private_folder(self.folder / names.EMPTY)
        # The worktree of branch mode is nothing that git of the host is to be used in.
        plain = 1 if spec.git is not None and spec.git.mode is GitMode.BRANCH else 0
        if spec.git_unsafe:
            plain = len(spec.mounts)
        found = mask_shields(spec.mounts, patterns, spec.private_paths, empty)
        found += git_shields(spec.mounts[plain:], empty)
        return found, gate_rules(spec.mounts, patterns, empty, guarded_from=plain)

    def cgroup(self) -> AbstractContextManager[Cgroup | None]:
        """The limits of this sandbox on the host; None where the host does not let us set any."""
        return make_cgroup(self.cgroups, self.spec.id, host_limits(self.spec.resources))


def find_parts(plan: Plan) -> Parts:
    """Look up the parts; nothing is built here.

    Raises:
        PermanentError: one is missing or damaged.
    """
    store = ImageStore(plan.where.cache)
    runtime, tools = store.runtime(), store.tools()
    if runtime is None or tools is None:
        missing = "runtime bundle" if runtime is None else "guest tools"
        raise PermanentError(f"the {missing} is missing or damaged", hint="Run: sbx setup")
    layers = tuple(_layer(store, digest) for digest in plan.spec.layers)
    return Parts(runtime=runtime, tools=tools, layers=layers)


def find_accel(plan: Plan, parts: Parts) -> Accel:
    """Decide between KVM and emulation (HostError if KVM was asked for and does not work)."""
    return choose_accel(plan.spec.accel, parts.runtime, plan.where.cache).accel


def _layer(store: ImageStore, digest: str) -> Layer:
    layer = store.layer(digest)
    if layer is None:
        raise PermanentError(
            f"a layer of the template is missing or damaged: {digest[:12]}",
            hint="Copy your work out of the workspace, remove the sandbox and create it again",
        )
    return layer
