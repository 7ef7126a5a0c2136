# SPDX-License-Identifier: Apache-2.0
"""The main job and the verbs around it, as a user types them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import cast

import pytest

from tests.kit.installation import Installation


def test_the_main_job(sbx: Installation, project: Path) -> None:
    done = sbx.call("run", "shell", ".", "--", "-c", "uname -a; id; pwd; ls", cwd=project).ok()
    lines = done.text.splitlines()
    assert lines[0].startswith("Linux shell-project 6.12")
    assert os.uname().release not in lines[0]
    assert lines[1].startswith("uid=1000(agent) gid=1000(agent)")
    assert lines[2:] == [str(project), "hello.txt"]


def test_run_again_attaches_to_the_same_one(sbx: Installation, project: Path) -> None:
    sbx.ok("run", "-q", "shell", str(project), "--", "-c", "echo mine > ~/note")
    done = sbx.ok("run", "-q", "shell", str(project), "--", "-c", "cat ~/note")
    assert done.text == "mine\n"
    assert sbx.names() == ["shell-project"]


def test_stop_and_start_keep_files_and_installed_things(sbx: Installation) -> None:
    sbx.ok("create", "--name", "keep", "-q", "--memory", "1g", "shell")
    script = "echo x > /usr/local/share/kept; useradd -m someone; echo y > /home/someone/f"
    sbx.inside("keep", "sh", "-c", script, user="root").ok()
    assert sbx.ok("stop", "keep").returncode == 0
    done = sbx.inside("keep", "sh", "-c", "cat /usr/local/share/kept; sudo cat /home/someone/f")
    assert done.ok().text == "x\ny\n"
    assert sbx.inspect("keep")["state"] == "running"


def test_what_was_written_last_survives_a_stop(sbx: Installation) -> None:
    sbx.ok("create", "--name", "flush", "-q", "--memory", "1g", "shell")
    sbx.inside(
        "flush", "sh", "-c", "head -c 50000000 /dev/urandom > ~/big; sha256sum ~/big > ~/sum"
    ).ok()
    sbx.ok("stop", "flush")
    sbx.inside("flush", "sha256sum", "-c", "/home/agent/sum").ok()


def test_the_guests_clock_follows_a_jump_of_the_hosts(sbx: Installation) -> None:
    sbx.ok("create", "--name", "late", "-q", "--memory", "1g", "shell")
    sbx.inside("late", "date", "-s", "2001-01-01", user="root").ok()
    try:
        time.clock_settime(
            time.CLOCK_REALTIME, time.time()
        )  # to what it is: told as a jump all the same
    except PermissionError:
        pytest.skip("needs the right to set the clock")
    script = "while [ $(date +%Y) = 2001 ]; do sleep 0.1; done; date +%s"
    seen = int(sbx.inside("late", "sh", "-c", script).ok().text)
    assert abs(seen - time.time()) < 60


def test_run_rm_removes_it_and_passes_the_status(sbx: Installation, project: Path) -> None:
    done = sbx.call("run", "--rm", "-q", "shell", str(project), "--", "-c", "exit 5")
    assert done.returncode == 5
    assert sbx.names() == []


def test_run_reads_a_pipe(sbx: Installation, project: Path) -> None:
    done = sbx.call("run", "-q", "shell", str(project), stdin=b"echo from the pipe\nexit 3\n")
    assert (done.out, done.returncode) == (b"from the pipe\n", 3)


def test_detached_stays_and_prints_the_id(sbx: Installation, project: Path) -> None:
    sbx.ok("settings", "set", "sandbox.autoStopSeconds", "1")
    done = sbx.ok("run", "-d", "-q", "shell", str(project))
    assert done.text.strip() == sbx.inspect("shell-project")["id"]
    sbx.inside("shell-project", "true").ok()
    time.sleep(4)
    assert sbx.inspect("shell-project")["state"] == "running"


def test_an_idle_sandbox_stops_by_itself(sbx: Installation) -> None:
    sbx.ok("settings", "set", "sandbox.autoStopSeconds", "1")
    sbx.ok("create", "--name", "idle", "-q", "--memory", "1g", "shell")
    end = time.monotonic() + 60
    while sbx.inspect("idle")["state"] != "stopped":
        assert time.monotonic() < end, "it did not stop"
        time.sleep(0.5)
    log = (sbx.folder("idle") / "supervisor.log").read_text()
    assert "auto-stop grace period expired, stopping runtime" in log


def test_ls_and_inspect_tell_the_same_story(sbx: Installation, project: Path) -> None:
    sbx.ok(
        "create", "--name", "story", "-q", "--memory", "1g", "--cpus", "1", "shell", str(project)
    )
    (row,) = cast("list[dict[str, object]]", json.loads(sbx.ok("ls", "--json").out))
    assert row["name"] == "story"
    assert row["status"] == "running"
    assert row["workspaces"] == [str(project)]
    assert sbx.inside("story", "nproc").ok().text == "1\n"
    total = sbx.inside("story", "awk", "/MemTotal/ {print $2}", "/proc/meminfo").ok().text
    assert 800_000 < int(total) <= 1 << 20
    done = sbx.ok("rm", "-f", "story", "--json")
    (action,) = cast("list[dict[str, object]]", json.loads(done.out))
    assert action["action"] == "removed"


def test_a_disk_has_the_size_that_was_asked_for_and_is_sparse(sbx: Installation) -> None:
    sbx.ok("create", "--name", "disk", "-q", "--memory", "1g", "--disk", "3g", "shell")
    assert sbx.folder("disk").joinpath("data.img").stat().st_size == 3 << 30
    assert sbx.folder("disk").joinpath("data.img").stat().st_blocks * 512 < 30 << 20
    size = sbx.inside("disk", "df", "--output=size", "-BM", "/").ok().text.split()[-1]
    assert 2700 < int(size.removesuffix("M")) <= 3072
    done = sbx.inside(
        "disk", "sh", "-c", "head -c 4G /dev/zero > /home/agent/f; echo $?; rm /home/agent/f"
    )
    assert b"No space left" in done.err
    sbx.inside("disk", "sh", "-c", "echo ok > ~/g && cat ~/g").ok()


def test_copy_both_ways(sbx: Installation, project: Path) -> None:
    sbx.ok("create", "--name", "copy", "-q", "--memory", "1g", "shell")
    (project / "dir").mkdir()
    (project / "dir" / "run.sh").write_text("#!/bin/sh\necho ran\n")
    (project / "dir" / "run.sh").chmod(0o750)
    sbx.ok("cp", str(project / "dir"), "copy:/home/agent")
    assert sbx.inside("copy", "/home/agent/dir/run.sh").ok().text == "ran\n"
    sbx.inside("copy", "sh", "-c", "ln -s /etc/passwd ~/dir/link; echo new > ~/dir/new").ok()
    sbx.ok("cp", "copy:/home/agent/dir/.", str(project / "back"))
    assert (project / "back" / "new").read_text() == "new\n"
    assert (project / "back" / "run.sh").stat().st_mode & 0o777 == 0o750
    assert (project / "back" / "link").is_symlink()
    assert (project / "back" / "new").stat().st_uid == os.geteuid()
