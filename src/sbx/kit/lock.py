# SPDX-License-Identifier: Apache-2.0
"""The lock file of a kit: everything that it brings, pinned, with the digest of its content.

Written beside spec.yaml as `sbx-kit.lock`; a kit is then not loaded with anything else.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sbx.errors import HostError
from sbx.kit.compose import Kit
from sbx.kit.findings import KitError
from sbx.system import codec
from sbx.system.files import read_bounded, write_atomic

NAME = "sbx-kit.lock"
_VERSION = 1
_LIMIT_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedKit:
    """One kit of a composition."""

    ref: str  # as the kits name it
    resolved: str  # pinned: a commit, a digest, a built-in agent
    digest: str  # of spec.yaml and files
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The whole file."""

    version: int
    kits: tuple[LockedKit, ...]
    images: tuple[str, ...]  # the templates that are named
    args: dict[str, str]  # of the kit itself

    @property
    def pins(self) -> dict[str, str]:
        """The digest of each reference."""
        return {kit.ref: kit.digest for kit in self.kits}


def lock_of(kit: Kit) -> Lock:
    """What fixes a kit: all that it extends, its image, the values of its arguments."""
    parents = zip(kit.ancestors, kit.sources[1:], strict=True)
    image = kit.spec.sandbox.image if kit.spec.sandbox else None
    return Lock(
        version=_VERSION,
        kits=tuple(
            LockedKit(
                ref=source.ref, resolved=source.resolved, digest=source.bundle.digest, name=name
            )
            for name, source in parents
        ),
        images=(image,) if image is not None else (),
        args=dict(sorted(kit.args.items())),
    )


def read_lock(folder: Path) -> Lock | None:
    """The lock file of a folder, or None.

    Raises:
        KitError: it cannot be understood.
    """
    path = folder / NAME
    try:
        lock = codec.loads(Lock, read_bounded(path, limit_bytes=_LIMIT_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, codec.CodecError, HostError, RecursionError) as error:
        raise KitError(f"cannot read `{path}`: {error}", hint="Run: sbx kit lock") from error
    if lock.version != _VERSION:
        raise KitError(f"`{path}` is of version {lock.version}, this program knows {_VERSION}")
    return lock


def write_lock(folder: Path, lock: Lock) -> Path:
    """Write the lock file of a folder (HostError if that fails)."""
    path = folder / NAME
    write_atomic(path, codec.dumps(lock), mode=0o644)
    return path
