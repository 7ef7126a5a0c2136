# SPDX-License-Identifier: Apache-2.0
"""Shared folders: same path, right owner, read-only held by the host, nothing else in reach."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.kit.installation import Installation

NAME = "share"


@pytest.fixture(scope="module", name="tree")
def _tree(shared: Installation) -> Path:
    """A workspace, extra folders, and one sandbox that has them all."""
    base = shared.home / "work space"
    for folder in ("main", "extra", "outside", "mapped", "closed"):
        (base / folder).mkdir(parents=True)
        (base / folder / "file").write_text(f"of {folder}\n")
    (base / "main" / "shield").write_text("do not touch\n")
    (base / "main" / "link").symlink_to(base / "outside" / "file")
    (base / "main" / "up").symlink_to("../outside/file")
    shared.ok(
        "create", "--name", NAME, "-q", "--memory", "1g", "shell",
        f"{base}/main", f"{base}/extra:ro", f"{base}/main/shield:ro", f"{base}/mapped:/data",
        f"{base}/closed:/root/src/closed",
    )  # fmt: skip
    shared.ok("run", "--name", NAME, "-d")
    return base


def sh(shared: Installation, script: str, user: str = "agent") -> str:
    """The output of a script inside, which must succeed."""
    return shared.inside(NAME, "sh", "-c", script, user=user).ok().text


def test_the_workspace_is_at_the_same_path_and_both_sides_write(
    shared: Installation, tree: Path
) -> None:
    assert sh(shared, "pwd; cat file; echo inside > made").startswith(f"{tree}/main\nof main")
    assert (tree / "main" / "made").read_text() == "inside\n"
    (tree / "main" / "later").write_text("outside\n")
    assert sh(shared, "cat later") == "outside\n"


@pytest.mark.parametrize("user", ["agent", "root"])
def test_files_made_inside_belong_to_the_user(shared: Installation, tree: Path, user: str) -> None:
    sh(shared, f"mkdir by-{user} && touch by-{user}/f && ln -s f by-{user}/l", user=user)
    for path in (tree / "main" / f"by-{user}", tree / "main" / f"by-{user}" / "f"):
        assert (path.stat().st_uid, path.stat().st_gid) == (os.geteuid(), os.getegid())
    assert sh(shared, f"stat -c %U by-{user}/f file").split() == ["agent", "agent"]


def test_another_place_is_mapped(shared: Installation, tree: Path) -> None:
    assert sh(shared, "cat /data/file; echo x > /data/new") == "of mapped\n"
    assert (tree / "mapped" / "new").read_text() == "x\n"


def test_a_folder_below_a_closed_one_can_be_reached(shared: Installation, tree: Path) -> None:
    # /root is closed to others in the template, and is where the host's root has its projects.
    assert sh(shared, "cat /root/src/closed/file; echo x > /root/src/closed/new") == "of closed\n"
    assert (tree / "closed" / "new").read_text() == "x\n"
    assert not shared.inside(NAME, "ls", "/root").text


def test_read_only_holds_against_root_inside(shared: Installation, tree: Path) -> None:
    attempts = (
        "touch new && echo WROTE; echo x > file && echo WROTE; rm -f file && echo WROTE; "
        "chmod 0777 file && echo WROTE; "
    )
    script = (
        f"cd '{tree}/extra' && cat file && {attempts} mount -o remount,rw,bind . ; {attempts}"
        "mount -t virtiofs share /mnt && cd /mnt/1 && { " + attempts + "}; true"
    )
    assert "WROTE" not in sh(shared, script, user="root")
    assert (tree / "extra" / "file").read_text() == "of extra\n"
    assert [p.name for p in (tree / "extra").iterdir()] == ["file"]


def test_a_read_only_file_shields_a_path_in_a_writable_folder(
    shared: Installation, tree: Path
) -> None:
    script = (
        "cat shield; echo x > shield && echo WROTE; rm -f shield && echo WROTE; "
        "mv shield y && echo WROTE; true"
    )
    assert sh(shared, script, user="root") == "do not touch\n"
    assert (tree / "main" / "shield").read_text() == "do not touch\n"


def test_a_read_only_file_stays_so_when_the_host_replaces_it(
    shared: Installation, tree: Path
) -> None:
    """A rename on the host takes the mount over a file away; what counts is its name."""
    (tree / "main" / "new").write_text("of a new file\n")
    (tree / "main" / "new").rename(tree / "main" / "shield")
    attempts = (
        "echo x >shield; : >shield; rm -f shield; mv shield y; ln shield y && echo x >y; "
        "echo x >z; mv z shield; truncate -s 0 shield; rm -f z; "
    )
    script = f"{attempts} mkdir -p /mnt/f; mount -t virtiofs share /mnt/f; cd /mnt/f/0; {attempts}"
    sh(shared, f"({script}) 2>/dev/null; true", user="root")
    assert (tree / "main" / "shield").read_text() == "of a new file\n"
    assert not (tree / "main" / "y").exists()
    (tree / "main" / "shield").write_text("do not touch\n")  # as other tests have it


def test_hard_links_and_links_that_are_swapped_lead_nowhere(
    shared: Installation, tree: Path
) -> None:
    """Hundreds of turns between a folder and a link out, while another process goes through it."""
    script = f"""
    mkdir -p /mnt/h; mount -t virtiofs share /mnt/h; cd /mnt/h/0
    ln ../1/file stolen; ln '{tree}/extra/file' stolen; ln -L up stolen
    mkdir real; echo inside >real/file; ln -s ../outside out; ln -s '{tree}/outside' absolute
    (while [ ! -e over ]; do echo x >turn/file; cat turn/file; done) >seen 2>/dev/null &
    for i in $(seq 300); do
        mv -T real turn; mv -T turn real; mv -T out turn; mv -T turn out
        mv -T absolute turn; mv -T turn absolute
    done
    touch over; wait; cat seen; rm -rf over seen real out absolute
    """
    seen = sh(shared, f"({script}) 2>/dev/null", user="root").split()
    assert set(seen) <= {"inside", "x"}
    assert not (tree / "main" / "stolen").exists()
    for name in ("outside", "extra"):
        assert (tree / name / "file").read_text() == f"of {name}\n"
        assert [path.name for path in (tree / name).iterdir()] == ["file"]


def test_a_link_out_of_the_share_does_not_resolve_on_the_host(
    shared: Installation, tree: Path
) -> None:
    done = shared.inside(NAME, "sh", "-c", "cat link; cat up", user="root")
    assert done.out == b""
    sh(shared, "ln -sfn /etc/passwd mine; ln -sfn ../outside there", user="root")
    assert (tree / "main" / "mine").is_symlink(), "a link is only a link"
    done = shared.inside(NAME, "sh", "-c", "cat there/file; echo x > there/file", user="root")
    assert done.out == b""
    assert (tree / "outside" / "file").read_text() == "of outside\n"


def test_special_files_do_no_harm_on_the_host(shared: Installation, tree: Path) -> None:
    sh(
        shared,
        "mknod disk b 254 0; mkfifo pipe; cp /usr/bin/id suid && chmod 4755 suid; "
        "chown 1234 file; setcap cap_net_admin+ep suid 2>/dev/null; true",
        user="root",
    )
    assert not (tree / "main" / "disk").is_block_device()
    suid = tree / "main" / "suid"
    assert not suid.exists() or not suid.stat().st_mode & 0o6000
    assert (tree / "main" / "file").stat().st_uid == os.geteuid()


def test_odd_names_arrive(shared: Installation, tree: Path) -> None:
    odd = ["-rf", "a b", "new\nline", "quote'\"", "$(id)", "ünï", "\x1b[31m"]
    for name in odd:
        (tree / "main" / name).write_text("x")
    listing = sh(shared, "python3 -c 'import os; print(ascii(sorted(os.listdir())))'")
    assert all(ascii(name) in listing for name in odd)
    assert "\x1b" not in shared.ok("ls").text


def test_a_sandbox_without_mounts_has_the_templates_workspace(sbx: Installation) -> None:
    sbx.ok("create", "--name", "bare", "-q", "--memory", "1g", "shell")
    done = sbx.inside("bare", "sh", "-c", "pwd; mount | grep -c virtiofs").text.split()
    assert done == ["/home/agent/workspace", "0"]


def test_a_read_only_workspace(sbx: Installation, project: Path) -> None:
    done = sbx.call(
        "run", "--name", "ro", "-q", "--memory", "1g", "shell", f"{project}:ro", "--",
        "-c", "cat hello.txt; touch new",
    )  # fmt: skip
    assert done.out == b"hello\n"
    assert done.returncode != 0
    assert [p.name for p in project.iterdir()] == ["hello.txt"]


def test_a_workspace_that_is_gone_is_told_and_comes_back(sbx: Installation, project: Path) -> None:
    sbx.ok("create", "--name", "moved", "-q", "--memory", "1g", "shell", str(project))
    sbx.ok("stop", "moved")
    project.rename(project.with_name("away"))
    done = sbx.inside("moved", "true")
    assert done.returncode == 1
    assert str(project).encode() in done.err
    project.with_name("away").rename(project)
    assert sbx.inside("moved", "cat", "hello.txt").ok().text == "hello\n"
