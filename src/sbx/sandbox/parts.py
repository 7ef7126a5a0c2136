# SPDX-License-Identifier: Apache-2.0
"""The prepared parts that a sandbox is made of: names and places, no behaviour."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Accel(StrEnum):
    """Who runs the guest's instructions."""

    KVM = "kvm"
    TCG = "tcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeBundle:
    """The pinned virtual machine monitor and its tools, an unpacked tree used as a jail's `/`."""

    digest: str
    root: Path
    kernel: Path
    kernel_release: str
    versions: dict[str, str]  # Debian package name -> version


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestTools:
    """The guest root: an EROFS image with the guest agent, and the initramfs that mounts it."""

    digest: str
    image: Path
    initramfs: Path
    versions: dict[str, str]  # Debian package name -> version, and `agent` -> digest of its source


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One read-only EROFS file of a template."""

    digest: str
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Template:
    """An ordered stack of layers, lowest first, and the defaults of what runs in it."""

    name: str
    digest: str
    layers: tuple[Layer, ...]
    user: str
    workdir: str
    env: dict[str, str]
    command: tuple[str, ...]
    versions: dict[str, str]
