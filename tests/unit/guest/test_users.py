# SPDX-License-Identifier: Apache-2.0
"""Users and groups from files that the sandbox wrote."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sbx.guest.users import Identity, UserError, find_user

PASSWD = """\
root:x:0:0:root:/root:/bin/bash
broken line
bad:x:x:y:::
huge:x:99999999999:1::/:/bin/sh
agent:x:1000:1000:agent:/home/agent:/bin/bash
bare:x:1001:1002:::
"""
GROUP = """\
root:x:0:
docker:x:998:other,agent
sudo:x:27:agent
agent:x:1000:agent
wheel:x:oops:agent
"""


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "passwd").write_text(PASSWD)
    (tmp_path / "etc" / "group").write_text(GROUP)
    return str(tmp_path)


def facts(found: Identity) -> tuple[int, int, list[int], str]:
    return found.uid, found.gid, found.groups, found.name


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("agent", (1000, 1000, [1000, 998, 27], "agent")),
        ("1000", (1000, 1000, [1000, 998, 27], "agent")),
        ("agent:docker", (1000, 998, [998], "agent")),
        ("agent:7", (1000, 7, [7], "agent")),
        ("0", (0, 0, [0], "root")),
        ("4242", (4242, 0, [0], "")),
        ("4242:docker", (4242, 998, [998], "")),
        ("", (0, 0, [0], "root")),
        (":docker", (0, 998, [998], "root")),
    ],
)
def test_found(root: str, spec: str, expected: tuple[int, int, list[int], str]) -> None:
    assert facts(find_user(spec, root=root)) == expected


def test_missing_fields_have_defaults(root: str) -> None:
    found = find_user("bare", root=root)
    assert (found.home, found.shell) == ("/", "/bin/sh")


@pytest.mark.parametrize("spec", ["nobody", "agent:none", "bad", "huge", "-1", "9" * 11, "a\nb"])
def test_not_found(root: str, spec: str) -> None:
    with pytest.raises(UserError, match="unable to find"):
        find_user(spec, root=root)


def test_without_files_numbers_still_work(tmp_path: Path) -> None:
    assert facts(find_user("0", root=str(tmp_path))) == (0, 0, [0], "root")
    assert find_user("0", root=str(tmp_path)).home == "/root"
    with pytest.raises(UserError):
        find_user("agent", root=str(tmp_path))


def test_a_fifo_in_the_place_of_a_file_does_not_block(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    os.mkfifo(tmp_path / "etc" / "passwd")
    with pytest.raises(UserError):
        find_user("agent", root=str(tmp_path))
