# SPDX-License-Identifier: Apache-2.0
"""The plan of the share's root."""

from __future__ import annotations

from pathlib import Path

from sbx.sandbox.spec import Mount
from sbx.workspace.layout import plan_places, translation


def mount(
    source: str, target: str = "", *, read_only: bool = False, is_file: bool = False
) -> Mount:
    where = Path(target or source)
    return Mount(source=Path(source), target=where, read_only=read_only, is_file=is_file)


def planned(*mounts: Mount) -> list[str]:
    return [f"{p.where}={p.source}{':ro' if p.read_only else ''}" for p in plan_places(mounts)]


def test_each_mount_has_its_number() -> None:
    assert planned(mount("/a"), mount("/b", read_only=True)) == ["0=/a", "1=/b:ro"]


def test_a_shielded_file_is_bound_over_its_workspace_and_its_folders_are_pinned() -> None:
    env = mount("/a/x/y/.env", read_only=True, is_file=True)
    assert planned(mount("/a"), env) == [
        "0=/a",
        "1=/a/x/y/.env:ro",
        "0/x=/a/x",
        "0/x/y=/a/x/y",
        "0/x/y/.env=/a/x/y/.env:ro",
    ]


def test_two_files_in_one_folder_pin_it_once() -> None:
    plan = planned(mount("/a"), mount("/a/x/1", is_file=True), mount("/a/x/2", is_file=True))
    assert plan[3:] == ["0/x=/a/x", "0/x/1=/a/x/1", "0/x/2=/a/x/2"]


def test_a_pin_comes_from_the_mount_that_is_visible_there() -> None:
    plan = planned(mount("/a"), mount("/other", "/a/b", read_only=True), mount("/c", "/a/b/x/c"))
    assert plan == [
        "0=/a",
        "1=/other:ro",
        "2=/c",
        "0/b=/other:ro",
        "0/b/x=/other/x:ro",
        "0/b/x/c=/c",
        "1/x=/other/x:ro",
        "1/x/c=/c",
    ]


def test_an_outer_mount_given_later_is_planned_first() -> None:
    assert planned(mount("/a/b"), mount("/a", read_only=True)) == ["1=/a:ro", "0=/a/b", "1/b=/a/b"]


def test_a_place_is_planned_after_the_place_it_is_in() -> None:
    plan = plan_places([mount("/a/x/y"), mount("/a"), mount("/a/x", read_only=True)])
    seen: set[str] = set()
    for place in plan:
        parent = str(place.where.parent)
        assert parent in seen | {"."}
        seen.add(str(place.where))


def test_ids_other_than_root_and_agent_are_not_mapped() -> None:
    assert translation() == [
        "--translate-uid=map:1000:1000:1",
        "--translate-uid=squash-guest:0:1000:1000",
        "--translate-gid=map:1000:1000:1",
        "--translate-gid=squash-guest:0:1000:1000",
    ]
