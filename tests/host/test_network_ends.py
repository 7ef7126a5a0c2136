# SPDX-License-Identifier: Apache-2.0
"""Whatever dies, however it dies: no namespace, no TAP, no process stays, and no way opens."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from sbx.errors import SbxError, TransientError
from sbx.network.link import Network, open_network
from sbx.sandbox import addresses
from sbx.system.process import spawn
from tests.kit import frames
from tests.kit.frames import Guest

# The place of a supervisor: opens a network, tells the helper's pid and its namespace, and stays.
PARENT = """
import asyncio, os
from sbx.network.link import open_network
async def main():
    async with open_network() as network:
        print(network.helper_pid, os.readlink(f"/proc/{network.helper_pid}/ns/net"), flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


def namespaces() -> set[str]:
    """Every network namespace that a process of ours is in or has open."""
    found: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            found.add(str((process / "ns/net").readlink()))
    return found


def namespace_of(pid: int) -> str:
    return str(Path(f"/proc/{pid}/ns/net").readlink())


def exists(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


async def ended(pid: int) -> None:
    """Wait for the end of a process that is not our child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    over = asyncio.Event()
    asyncio.get_running_loop().add_reader(fd, over.set)
    try:
        await over.wait()
    finally:
        asyncio.get_running_loop().remove_reader(fd)
        os.close(fd)


async def use_up_sockets(network: Network) -> None:
    """More than any pool holds."""
    for _ in range(200):
        (await network.take_socket()).close()


def test_an_orderly_end_leaves_nothing() -> None:
    async def check() -> None:
        before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - counts, does not read
        async with open_network() as network:
            pid, namespace = network.helper_pid, namespace_of(network.helper_pid)
            assert namespace in namespaces()
        assert not exists(pid)
        assert namespace not in namespaces()
        assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208 - pathlib opens one more

    asyncio.run(check())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_that_is_killed_takes_the_helper_along(number: signal.Signals) -> None:
    async def check() -> None:
        parent = await spawn(
            [sys.executable, "-c", PARENT],
            env={"PYTHONPATH": ":".join(sys.path), "PATH": os.environ["PATH"]},
            stdout=asyncio.subprocess.PIPE,
        )
        assert parent.stdout is not None
        pid, namespace = (await parent.stdout.readline()).decode().split()
        assert namespace in namespaces()
        parent.send_signal(number)
        await parent.wait()
        await ended(int(pid))
        assert namespace not in namespaces()

    asyncio.run(check())


def test_a_helper_that_is_killed_is_noticed_and_the_rules_stay() -> None:
    async def check() -> None:
        async with open_network() as network:
            guest = Guest(
                network.sandbox_tap, addresses.SANDBOX_MAC, addresses.SANDBOX, addresses.GATEWAY
            )
            os.kill(network.helper_pid, signal.SIGKILL)
            assert await network.wait() == -signal.SIGKILL
            # The descriptors keep the namespace, and the namespace keeps its rules.
            guest.send_ip(frames.icmp_echo(), frames.ICMP, target=addresses.GATEWAY)
            assert guest.received() == []
            with pytest.raises(TransientError):
                await use_up_sockets(network)

    asyncio.run(check())


@pytest.mark.parametrize("step", ["nft", "nsenter"])
def test_rules_that_cannot_be_loaded_leave_no_network(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a PATH in which one program is missing, nothing is handed out and nothing stays."""
    for folder in ("/usr/bin", "/usr/sbin"):
        for program in ("nft", "nsenter"):
            if program != step and (path := Path(folder) / program).exists():
                (tmp_path / program).symlink_to(path)
    monkeypatch.setattr("sbx.system.process.base_env", lambda: {"PATH": str(tmp_path)})
    before = namespaces()

    async def check() -> None:
        with pytest.raises(SbxError, match=f"program not found: `{step}`"):
            async with open_network():
                pytest.fail("a network without rules")

    asyncio.run(check())
    assert namespaces() <= before


def test_a_closed_network_can_be_opened_again_many_times() -> None:
    async def check() -> None:
        for _ in range(5):
            async with open_network() as network:
                network.close_taps()
                network.close_taps()

    asyncio.run(check())
