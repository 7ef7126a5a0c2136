# SPDX-License-Identifier: Apache-2.0
"""What was asked for: the frozen specification of a sandbox, written once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from sbx.sandbox.git import GitWorkspace
from sbx.sandbox.recipe import NO_RECIPE, Recipe


class AccelChoice(StrEnum):
    """What `--accel` takes."""

    AUTO = "auto"
    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A host folder or file that the sandbox sees at `target`."""

    source: Path
    target: Path  # absolute, inside the sandbox
    read_only: bool = False
    is_file: bool = False

    def __str__(self) -> str:
        suffix = ":ro" if self.read_only else ""
        return (
            f"{self.source}{suffix}"
            if self.source == self.target
            else f"{self.source}:{self.target}{suffix}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """The size of the machine."""

    cpus: int
    memory_bytes: int
    disk_bytes: int  # of the sparse data disk


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSpec:
    """One sandbox as it was asked for."""

    id: str  # uuid4, lower case with dashes
    name: str
    agent: str
    template: str  # a template's name
    layers: tuple[str, ...]  # digests of the template's layers at creation, lowest first
    user: str  # who runs commands unless told otherwise
    command: tuple[str, ...]  # what `run` starts, without the user's arguments
    mounts: tuple[Mount, ...]  # the first is the primary workspace; empty: mountless
    workdir: str  # where commands start: the primary workspace, else the template's
    env: dict[str, str]
    resources: Resources
    accel: AccelChoice
    created_at: datetime  # UTC
    git: GitWorkspace | None = None  # branch or clone mode
    masks: tuple[str, ...] = ()  # patterns, as in .gitignore: what matches is empty inside
    private_paths: tuple[str, ...] = ()  # below the workspace: folders on the sandbox's own disk
    git_unsafe: bool = False  # `.git/hooks`, `.git/config` and the like are writable inside
    recipe: Recipe = NO_RECIPE  # what it keeps of its kits
