# SPDX-License-Identifier: Apache-2.0
"""What a front door asks of `create`, checked and with every default filled in."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sbx.sandbox.git import GitWorkspace
from sbx.sandbox.ports import Publication
from sbx.sandbox.recipe import KitService
from sbx.sandbox.spec import AccelChoice, Mount, Resources

if TYPE_CHECKING:
    from sbx.kit.compose import Composition  # whoever has no kits does not load it
    from sbx.policy.patterns import Resource


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRequest:
    """A sandbox to be made. Parsing, defaults and prompts are the front door's."""

    name: str
    agent: str
    mounts: tuple[Mount, ...]
    resources: Resources
    template: str = "shell"
    command: tuple[str, ...] = ()  # empty: the template's
    accel: AccelChoice = AccelChoice.AUTO
    kits: Composition | None = None  # None: nothing but the template
    kit_hosts: bool = False  # under Locked Down: the user agreed to the hosts that the kits allow
    kit_services: tuple[KitService, ...] = ()  # of the kits' own, that the user agreed to
    env: dict[str, str] = field(default_factory=dict[str, str])
    workdir: str | None = None  # None: the primary workspace, else the template's
    git: GitWorkspace | None = None  # branch or clone mode
    masks: tuple[str, ...] = ()
    private_paths: tuple[str, ...] = ()
    git_unsafe: bool = False
    deny_network: tuple[Resource, ...] = ()  # rules of this sandbox from its beginning
    published: tuple[Publication, ...] = ()
    disk: Path | None = None  # an earlier data disk, which is moved there and used on
