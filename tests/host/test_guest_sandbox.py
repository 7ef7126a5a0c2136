# SPDX-License-Identifier: Apache-2.0
"""The sandbox itself, put together by the real guest code in namespaces of this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sbx.agent.copy import copy_in
from sbx.agent.session import ExecRequest, Terminal
from tests.kit.guest import Guest, run_guest

if os.geteuid() != 0:
    pytest.skip("needs root: makes namespaces and mounts", allow_module_level=True)


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    with run_guest("sandbox", tmp_path_factory.mktemp("guest")) as found:
        yield found


def lines(guest: Guest, text: str) -> list[str]:
    ran = guest.run("sh", "-c", text)
    assert ran.stderr == b""
    return ran.stdout.decode().splitlines()


def test_it_has_namespaces_of_its_own(guest: Guest) -> None:
    kinds = ("mnt", "pid", "uts", "ipc", "net")
    inside = lines(guest, "; ".join(f"readlink /proc/self/ns/{kind}" for kind in kinds))
    assert not set(inside) & {str(Path(f"/proc/self/ns/{kind}").readlink()) for kind in kinds}


def test_names_and_identity(guest: Guest) -> None:
    assert lines(guest, "uname -n; cat /etc/hostname /etc/machine-id /etc/resolv.conf") == [
        "box",
        "box",
        "0123456789abcdef" * 2,
        "nameserver 192.168.127.1",
    ]
    hosts = lines(guest, "cat /etc/hosts")
    assert "192.168.127.1\tgateway.docker.internal host.docker.internal" in hosts
    assert "127.0.1.1\tbox" in hosts


def test_the_host_is_not_visible(guest: Guest) -> None:
    mounts = lines(guest, "cut -d' ' -f5 /proc/self/mountinfo")
    assert "/" in mounts
    assert not [point for point in mounts if point.startswith(("/home", "/root", "/old"))]


def test_only_loopback_without_a_link(guest: Guest) -> None:
    assert lines(guest, "ls /sys/class/net") == ["lo"]


def test_devices_work(guest: Guest) -> None:
    text = "echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 4 /dev/urandom | wc -c"
    assert lines(guest, text) == ["3", "4"]
    assert lines(guest, "test -c /dev/fuse && test -c /dev/net/tun && readlink /dev/ptmx") == [
        "pts/ptmx"
    ]


def test_a_terminal_is_the_sandbox_own(guest: Guest) -> None:
    request = ExecRequest(argv=("sh", "-c", "tty; ls /dev/pts"), terminal=Terminal(rows=1, cols=2))
    assert guest.run(request=request).stdout.split() == [b"/dev/pts/0", b"0", b"ptmx"]


def test_pid_1_reaps_and_cannot_be_killed(guest: Guest) -> None:
    text = (
        "sh -c '(sleep 0.1 &) ; exit' ; sleep 0.4; grep -l '^State:.Z' /proc/[0-9]*/status | wc -l"
    )
    assert lines(guest, text) == ["0"]
    guest.run("sh", "-c", "kill -9 1; kill -TERM 1; sleep 60 & kill -9 -1")
    assert lines(guest, "cat /proc/1/cmdline") == ["sleep\0infinity\0"]


def test_the_user_agent_is_made(guest: Guest) -> None:
    text = "id -u; echo $USER $HOME; touch ~/x && echo written"
    request = ExecRequest(argv=("sh", "-c", text), user="agent", workdir="/")
    assert guest.run(request=request).stdout == b"1000\nagent /home/agent\nwritten\n"


def test_the_working_folder_is_made(guest: Guest) -> None:
    assert lines(guest, "pwd") == ["/root/workspace"]


def test_files_go_into_the_sandbox_not_the_host(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("inside")
    copy_in(guest.session, str(tmp_path / "file"), "/etc/sbx-test-file", owner="agent")
    assert lines(guest, "cat /etc/sbx-test-file; stat -c :%u /etc/sbx-test-file") == ["inside:1000"]
    assert not Path("/etc/sbx-test-file").exists()


def test_a_link_inside_leads_nowhere_else(guest: Guest, tmp_path: Path) -> None:
    lines(guest, f"mkdir -p {tmp_path}; ln -s /etc {tmp_path}/link")
    (tmp_path / "file").write_text("x")
    copy_in(guest.session, str(tmp_path / "file"), f"{tmp_path}/link/sbx-linked", owner="agent")
    assert lines(guest, "cat /etc/sbx-linked") == ["x"]
    assert not Path("/etc/sbx-linked").exists()
    assert not (tmp_path / "link").exists()


def test_a_sandbox_without_any_program_leaves_the_agent(tmp_path: Path) -> None:
    with run_guest("sandbox", tmp_path) as guest:
        for folder in ("etc", "usr", "bin"):
            guest.run("mount", "-t", "tmpfs", "none", f"/{folder}")
        end = guest.run("sh", "-c", "true").end
        assert end.exit_status == 127
        with guest.session() as session:
            assert session.stat("/proc") == "folder"
