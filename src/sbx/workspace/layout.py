# SPDX-License-Identifier: Apache-2.0
"""Where each shared path appears in the file server's root: pure, from mounts to binds.

Mount i is `/<i>`. A mount inside another one is bound over it there too, so that guest root, who
can undo any mount of the guest, still meets it. The folders on the way are bound onto themselves:
a mount point cannot be renamed, so a shielded file cannot be moved aside with its folder.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sbx.sandbox.spec import Mount
from sbx.workspace.mounts import enclosing, mount_order

AGENT_ID = 1000  # of user and group `agent` in every template


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A path of the share, and the host's path that appears there."""

    where: PurePosixPath  # relative to the root of the share
    source: Path
    read_only: bool


def plan_places(mounts: Sequence[Mount], shields: Sequence[Mount] = ()) -> tuple[Place, ...]:
    """All binds, in an order in which each finds its place already there.

    `shields` cover places in the mounts and have no number of their own.
    """
    places: dict[PurePosixPath, Place] = {}
    order = mount_order(mounts)
    for i in order:
        where = PurePosixPath(str(i))
        places[where] = Place(where=where, source=mounts[i].source, read_only=mounts[i].read_only)
    everything = [*mounts, *shields]
    for inner in mount_order(everything):
        for outer in order:
            if mounts[outer].target in everything[inner].target.parents:
                for place in _way_down(everything, outer, inner):
                    places.setdefault(place.where, place)
    return tuple(places.values())


def translation() -> list[str]:
    """virtiofsd's arguments: guest root and `agent` are the host user, others are refused.

    The jail shows the host user as `AGENT_ID`, whoever it is: virtiofsd wants privileges as uid 0.
    """
    args: list[str] = []
    for kind in ("uid", "gid"):
        args += [f"--translate-{kind}=map:{AGENT_ID}:{AGENT_ID}:1"]
        args += [f"--translate-{kind}=squash-guest:0:{AGENT_ID}:{AGENT_ID}"]
    return args


def _way_down(mounts: Sequence[Mount], outer: int, inner: int) -> Iterator[Place]:
    """The folders between two mounts, each as its innermost mount has it, and the inner mount."""
    base, target = mounts[outer].target, mounts[inner].target
    where = PurePosixPath(str(outer))
    for folder in reversed(target.parents[: len(target.parents) - len(base.parts)]):
        owner = enclosing(mounts, folder / "_")
        assert owner is not None  # `outer` itself, if no other
        yield Place(
            where=where / folder.relative_to(base),
            source=owner.source / folder.relative_to(owner.target),
            read_only=owner.read_only,
        )
    mount = mounts[inner]
    yield Place(
        where=where / target.relative_to(base), source=mount.source, read_only=mount.read_only
    )
