# SPDX-License-Identifier: Apache-2.0
"""The file server's jail, seen through /proc: what it holds, what it refuses, and that it ends.

What a guest can and cannot do through it is in tests/vm.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest

from sbx.errors import PermanentError, UserError
from sbx.image.store import ImageStore
from sbx.sandbox.parts import RuntimeBundle
from sbx.sandbox.spec import Mount
from sbx.system.progress import Silent
from sbx.workspace.mounts import parse_mounts
from sbx.workspace.share import Share, open_share

pytestmark = pytest.mark.timeout(900)  # the first test of a fresh machine builds the runtime


@pytest.fixture(scope="session", name="runtime")
def _runtime() -> RuntimeBundle:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    runtime, _ = ImageStore(cache / "opensbx").prepare_machine(Silent())
    return runtime


@pytest.fixture(name="project")
def _project(tmp_path: Path) -> Path:
    project = tmp_path.resolve() / "project"
    (project / "conf").mkdir(parents=True)
    (project / "conf/.env").write_text("secret")
    return project


def root_of(share: Share) -> Path:
    """The share's root inside the jail: the first process of the chain that sees one."""
    pid = share.pid  # of the gate, or of bubblewrap outside
    while not (root := Path(f"/proc/{pid}/root/run/share")).is_dir():
        (pid,) = map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())
    return root


def is_read_only(path: Path) -> bool:
    return bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def descriptors() -> set[str]:
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def server_files(share: Share) -> set[str]:
    """What the server's descriptors point at."""
    inner = root_of(share).parts[2]
    server = Path(f"/proc/{inner}/task/{inner}/children").read_text().split()[0]
    folder = Path(f"/proc/{server}/fd")
    links = {path: str(path.readlink()) for path in folder.iterdir()}
    for path, name in links.items():
        if name == "/":  # the jail's own, not the host's
            assert path.samefile(f"/proc/{server}/root")
    return {re.sub(r"^/proc/\d+/", "/proc/self/", name) for name in links.values()}


def mount_points(share: Share) -> set[str]:
    """Below the share's root; `Path.is_mount` does not know mounts within one file system."""
    lines = (root_of(share).parents[2] / "mountinfo").read_text().splitlines()
    paths = [line.split()[4] for line in lines]
    return {path.removeprefix("/run/share/") for path in paths if path.startswith("/run/share/")}


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def sockets_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.is_socket()]


def refused(
    runtime: RuntimeBundle, mounts: Sequence[Mount], log: Path, kind: type[Exception], match: str
) -> None:
    """A start that fails as told, and leaves no descriptor and no socket."""

    async def check() -> None:
        before = descriptors()
        with pytest.raises(kind, match=match):
            async with open_share(runtime, mounts, log_path=log):
                pytest.fail("a share that should not be")
        assert descriptors() == before

    asyncio.run(check())
    assert sockets_in(log.parent) == []


def test_the_share_holds_what_was_asked_for_and_nothing_else(
    runtime: RuntimeBundle, project: Path, tmp_path: Path
) -> None:
    (tmp_path / "library").mkdir()
    args = [str(project), f"{tmp_path}/library:ro", f"{project}/conf/.env:ro"]
    mounts = parse_mounts(args, cwd=tmp_path)

    async def check() -> None:
        async with open_share(runtime, mounts, log_path=tmp_path / "log") as share:
            root = root_of(share)
            assert sorted(path.name for path in root.iterdir()) == ["0", "1", "2"]
            assert (root / "0").samefile(project)
            assert (root / "1").samefile(tmp_path / "library")
            assert [is_read_only(root / name) for name in ("", "0", "1", "2")] == [
                True,
                False,
                True,
                True,
            ]
            assert is_read_only(root / "0/conf/.env")
            assert not is_read_only(root / "0/conf")
            assert mount_points(share) == {"0", "1", "2", "0/conf", "0/conf/.env"}

    asyncio.run(check())


def test_nothing_of_the_host_is_visible_to_the_server(
    runtime: RuntimeBundle, project: Path, tmp_path: Path
) -> None:
    mounts = parse_mounts([str(project)], cwd=tmp_path)

    async def check() -> None:
        async with open_share(runtime, mounts, log_path=tmp_path / "log") as share:
            jail = root_of(share).parents[1]
            assert not (jail / str(tmp_path).lstrip("/")).exists()
            assert [p.name for p in (jail / "run").iterdir()] == ["share"]
            inner = jail.parent
            status = (inner / "status").read_text()
            assert "CapEff:\t0000000000000000" in status
            # A descriptor of a folder outside would be a way out of the jail.
            assert {name for name in server_files(share) if name.startswith("/")} <= {
                "/",
                "/dev/null",
                "/proc/self/fd",
                "/run/share",
            }

    asyncio.run(check())


def test_it_ends_with_its_connection_and_leaves_nothing(
    runtime: RuntimeBundle, project: Path, tmp_path: Path
) -> None:
    mounts = parse_mounts([str(project)], cwd=tmp_path)

    async def check() -> None:
        before = descriptors()
        async with open_share(runtime, mounts, log_path=tmp_path / "log") as share:
            pid = share.pid
            assert sockets_in(tmp_path) == []
            share.connect().close()
            assert await share.wait() == 0
        assert not exists(pid)
        assert descriptors() == before

    asyncio.run(check())


def test_a_server_that_is_killed_is_noticed(
    runtime: RuntimeBundle, project: Path, tmp_path: Path
) -> None:
    mounts = parse_mounts([str(project)], cwd=tmp_path)

    async def check() -> None:
        async with open_share(runtime, mounts, log_path=tmp_path / "log") as share:
            os.kill(share.pid, signal.SIGKILL)
            assert await share.wait() == -signal.SIGKILL

    asyncio.run(check())


def test_a_long_folder_name_is_no_obstacle(
    runtime: RuntimeBundle, project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / ("x" * 120)
    folder.mkdir()
    mounts = parse_mounts([str(project)], cwd=tmp_path)

    async def check() -> None:
        async with open_share(runtime, mounts, log_path=folder / "log") as share:
            assert share.connect().fileno() >= 0

    asyncio.run(check())


@pytest.mark.parametrize("what", ["gone", "file", "link", "link above"])
def test_a_workspace_that_is_another_thing_now(
    runtime: RuntimeBundle, project: Path, tmp_path: Path, what: str
) -> None:
    """A guest of an earlier run, or anybody, put something else there: links are not followed."""
    mounts = parse_mounts([str(project / "conf")], cwd=tmp_path)
    moved = project / "conf" if what != "link above" else project
    moved.rename(tmp_path / "moved")
    if what == "file":
        moved.touch()
    elif what.startswith("link"):
        moved.symlink_to(tmp_path / "moved")
    match = "no longer a folder" if what in ("file", "link") else "workspace is gone"
    refused(runtime, mounts, tmp_path / "log", UserError, match)


def test_a_shielded_file_that_is_gone(
    runtime: RuntimeBundle, project: Path, tmp_path: Path
) -> None:
    mounts = parse_mounts([str(project), f"{project}/conf/.env:ro"], cwd=tmp_path)
    (project / "conf/.env").unlink()
    refused(runtime, mounts, tmp_path / "log", UserError, "is gone")


def test_a_folder_swapped_while_the_jail_is_made_is_noticed(
    runtime: RuntimeBundle, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The swap happens at the worst moment: after our look, before the mount."""
    (tmp_path / "private").mkdir()
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/bwrap"
    script.write_text(
        f"#!/bin/sh\nmv '{project}' '{project}.old'\nln -s '{tmp_path}/private' '{project}'\n"
        'PATH=/usr/bin:/bin exec bwrap "$@"\n'
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    mounts = parse_mounts([str(project)], cwd=tmp_path)
    refused(runtime, mounts, tmp_path / "log", PermanentError, "as it was checked")


def test_a_server_that_does_not_start_says_why(
    runtime: RuntimeBundle, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/bwrap"
    script.write_text("#!/bin/sh\necho 'no jail today' >&2\nexit 7\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    mounts = parse_mounts([str(project)], cwd=tmp_path)

    async def check() -> None:
        with pytest.raises(PermanentError, match="file server failed with status 7") as caught:
            async with open_share(runtime, mounts, log_path=tmp_path / "log"):
                pytest.fail("a share without a server")
        assert caught.value.details == "no jail today"

    asyncio.run(check())


def test_a_flood_of_messages_fills_no_disk(
    runtime: RuntimeBundle, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin/bwrap"
    script.write_text("#!/bin/sh\nhead -c 8000000 /dev/zero >&2\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    mounts = parse_mounts([str(project)], cwd=tmp_path)
    log = tmp_path / "log"

    async def check() -> None:
        with pytest.raises(PermanentError):
            async with open_share(runtime, mounts, log_path=log):
                pytest.fail("a share without a server")

    asyncio.run(check())
    assert 0 < log.stat().st_size <= 256 << 10
