# SPDX-License-Identifier: Apache-2.0
"""What must come true for a sandbox to be ready, in order: each with a deadline and a remedy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """One step of a bring-up. `description` completes "… was not ready within N s"."""

    name: str
    description: str
    deadline_s: float
    hint: str


PARTS = Requirement(
    name="parts",
    description="the runtime bundle",
    deadline_s=60,
    hint="Run: sbx setup",
)
ACCEL = Requirement(
    name="accel",
    description="the decision between KVM and emulation",
    deadline_s=30,
    hint="Run: sbx diagnose, or name one with --accel",
)
NETWORK = Requirement(
    name="network",
    description="the sandbox's network namespace",
    deadline_s=30,
    hint="Run: sbx diagnose",
)
WAY_OUT = Requirement(
    name="way-out",
    description="the sandbox's DNS and proxy",
    deadline_s=30,
    hint="See supervisor.log in the sandbox's folder",
)
PORTS = Requirement(
    name="ports",
    description="the published ports",
    deadline_s=30,
    hint="Run: sbx port ls NAME",
)
SHARE = Requirement(
    name="share",
    description="the file server for the workspace",
    deadline_s=30,
    hint="Check that the workspace's file system answers, then run: sbx diagnose",
)
DISK = Requirement(
    name="disk",
    description="the sandbox's new disk",
    deadline_s=60,
    hint="Check the disk that holds the sandbox's folder",
)
MEMORY = Requirement(
    name="memory",
    description="the snapshot's memory",
    deadline_s=30,
    hint="Check the disk that holds the cache, then run: sbx diagnose",
)
RESTORE = Requirement(
    name="restore",
    description="the restored machine",
    deadline_s=20,
    hint="The host may be overloaded",
)
MACHINE = Requirement(
    name="machine",
    description="the virtual machine monitor",
    deadline_s=30,
    hint="Run: sbx diagnose",
)
BOOT = Requirement(
    name="boot",
    description="the guest agent",
    deadline_s=90,
    hint="See console.log in the sandbox's folder; the host may be overloaded",
)
CONFIGURE = Requirement(
    name="configure",
    description="the guest's identity",
    deadline_s=30,
    hint="See console.log in the sandbox's folder",
)
PLUG = Requirement(
    name="plug",
    description="the sandbox's disks",
    deadline_s=30,
    hint="See supervisor.log in the sandbox's folder",
)
ASSEMBLE = Requirement(
    name="assemble",
    description="the sandbox inside the machine",
    deadline_s=90,
    hint="See console.log in the sandbox's folder",
)
PRIVATE = Requirement(
    name="private",
    description="the private folders",
    deadline_s=60,
    hint="See supervisor.log in the sandbox's folder",
)
CLONE = Requirement(
    name="clone",
    description="the clone of the repository",
    deadline_s=1800,
    hint="Try again: sbx run --name NAME. A large one: clone it yourself and name the folder",
)
GIT = Requirement(
    name="git",
    description="the sandbox's Git repository",
    deadline_s=300,
    hint="See supervisor.log in the sandbox's folder",
)

# In the order in which they begin. A restored machine has `MEMORY` and `RESTORE` in the place of
# `MACHINE` and `BOOT`; network, share and memory go side by side, and so do plug and the rest.
ALL = (
    PARTS,
    ACCEL,
    NETWORK,
    WAY_OUT,
    PORTS,
    SHARE,
    DISK,
    MEMORY,
    RESTORE,
    MACHINE,
    BOOT,
    CONFIGURE,
    PLUG,
    ASSEMBLE,
    PRIVATE,
    GIT,
)
