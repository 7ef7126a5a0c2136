# SPDX-License-Identifier: Apache-2.0
"""Real machines of the runtime bundle, with a tiny guest: boot, hot-plug, limits, ends."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sbx.errors import ConflictError, HostError, PermanentError
from sbx.image.store import ImageStore
from sbx.sandbox.parts import Accel, RuntimeBundle
from sbx.sandbox.spec import Mount, Resources
from sbx.sandbox.units import GIB, MIB
from sbx.store.paths import find_paths
from sbx.system.cgroup import CgroupLimits, find_support, make_cgroup
from sbx.system.files import owned_fd
from sbx.system.jail import Jail
from sbx.system.process import run
from sbx.vm.disk import create_disk, open_disk
from sbx.vm.machine import Machine, MachineConfig, start_machine
from sbx.vm.outcome import EndReason, MachineEnd
from sbx.vm.stop import StopDeadlines, StopStep, stop_machine
from sbx.workspace.share import open_share
from tests.kit.tiny_guest import ask, make_tiny_guest

pytestmark = pytest.mark.timeout(120)  # an emulated boot takes seconds, on a busy machine many


@pytest.fixture(scope="module", name="runtime")
def _runtime() -> RuntimeBundle:
    """The bundle in the tester's cache, which `bin/test` has prepared."""
    runtime = ImageStore(find_paths().cache).runtime()
    if runtime is None:
        pytest.skip("needs the runtime bundle: run sbx setup")
    return runtime


@pytest.fixture(name="config")
def _config(runtime: RuntimeBundle, tmp_path: Path) -> MachineConfig:
    """A small emulated machine."""
    return MachineConfig(
        runtime=runtime,
        tools=make_tiny_guest(runtime, tmp_path),
        resources=Resources(cpus=1, memory_bytes=512 * MIB, disk_bytes=1 * GIB),
        accel=Accel.TCG,
        taps=(),
        console_log=tmp_path / "console.log",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What is true after a machine."""

    end: MachineEnd
    pid: int


def use(config: MachineConfig, body: Callable[[Machine], Awaitable[None]]) -> Told:
    """Boot, do `body`, end; then nothing of the machine may be left."""
    before = len(list(Path("/proc/self/fd").iterdir()))

    async def main() -> Told:
        async with start_machine(config) as machine:
            await body(machine)
            if not machine.ended.is_set():
                machine.signal(signal.SIGKILL)
            return Told(end=await machine.wait(), pid=machine.pid)

    told = asyncio.run(main())
    assert not Path(f"/proc/{told.pid}").exists()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    return told


def test_a_machine_is_what_was_asked_for(config: MachineConfig) -> None:
    async def body(machine: Machine) -> None:
        sock = machine.agent_socket
        # An emulated machine boots with one processor and is given the others (docs/machine.md).
        assert (await ask(sock, "$b cat /sys/devices/system/cpu/present")).strip() == "0-1"
        await ask(sock, "$b echo 1 > /sys/devices/system/cpu/cpu1/online")
        assert (await ask(sock, "$b nproc")).strip() == "2"
        kib = int((await ask(sock, "$b awk '/MemTotal/ {print $2}' /proc/meminfo")).strip())
        assert 440 * 1024 < kib < 512 * 1024
        assert (await ask(sock, "$b cat /sys/block/vda/serial")).strip() == "tools"
        assert (await ask(sock, "$b cat /sys/block/vda/ro")).strip() == "1"
        assert (await ask(sock, "$b cat /sys/class/misc/hw_random/rng_current")).strip() != "none"
        name = await ask(sock, "$b cat /sys/class/virtio-ports/vport*p1/name")
        assert name.strip() == "org.opensbx.control"
        assert "BOOTED" in machine.console_tail()
        assert "FAILED" not in machine.console_tail()

    use(replace(config, resources=replace(config.resources, cpus=2)), body)


def test_qemu_sees_nothing_of_the_host(config: MachineConfig, tmp_path: Path) -> None:
    def look(pid: int) -> None:
        root = Path(f"/proc/{pid}/root")
        assert (root / "usr/bin/qemu-system-x86_64").exists()
        for path in (tmp_path, Path("/home"), Path("/etc/passwd")):
            assert not (root / path.relative_to("/")).exists()
        status = Path(f"/proc/{pid}/status").read_text()
        fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(fields["CapEff"], 16) == 0
        assert int(fields["CapBnd"], 16) == 0
        assert fields["NoNewPrivs"] == "1"
        assert fields["Seccomp"] == "2"
        for space in ("net", "mnt", "pid", "ipc", "uts", "user"):
            theirs = os.readlink(f"/proc/{pid}/ns/{space}")  # noqa: PTH115 - no path
            assert theirs != os.readlink(f"/proc/self/ns/{space}")  # noqa: PTH115 - no path

    def look_at_files(pid: int) -> None:
        opened = {str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir()}
        files = {path for path in opened if path.startswith("/")}
        unnamed = {path for path in files if path.startswith(("/memfd:", "/dev/null"))}
        assert files - unnamed == {str(config.tools.image), str(config.tools.initramfs)}

    async def body(machine: Machine) -> None:
        look(machine.pid)
        look_at_files(machine.pid)

    use(config, body)


def test_disks_are_plugged_and_hold_what_is_written(config: MachineConfig, tmp_path: Path) -> None:
    layer, data = tmp_path / "layer", tmp_path / "data.img"
    layer.write_bytes(b"layer" * 1024)
    layer.write_bytes(layer.read_bytes().ljust(1 << 20, b"\0"))
    create_disk(data, GIB)

    async def body(machine: Machine) -> None:
        sock = machine.agent_socket
        await ask(sock, "true")
        with layer.open("rb") as file:
            await machine.plug_disk(serial="layer0", fd=file.fileno(), read_only=True)
        fd = open_disk(data)
        await machine.plug_disk(serial="data", fd=fd, read_only=False)
        os.close(fd)
        wait = "while ! $b grep -q . /dev/null /sys/block/vdc/serial; do $b sleep 0.05; done"
        await ask(sock, f"{wait} 2>/dev/null")
        serials = await ask(sock, "$b cat /sys/block/vd?/serial /sys/block/vdb/ro")
        assert "layer0" in serials
        assert "data" in serials
        which = "for d in vdb vdc; do $b grep -qx $1 /sys/block/$d/serial && echo $d; done"
        found = {
            name: (await ask(sock, f"set -- {name}; {which}")).strip()
            for name in ("layer0", "data")
        }
        assert (await ask(sock, f"$b head -c 5 /dev/{found['layer0']}")) == "layer"
        assert (await ask(sock, f"$b cat /sys/block/{found['layer0']}/ro")).strip() == "1"
        assert (await ask(sock, f"$b cat /sys/block/{found['data']}/ro")).strip() == "0"
        written = await ask(
            sock, f"printf written | $b dd of=/dev/{found['data']} bs=7 seek=1 conv=fsync 2>&1"
        )
        assert "1+0 records out" in written

    use(config, body)
    with data.open("rb") as file:
        file.seek(7)
        assert file.read(7) == b"written"
    assert data.stat().st_blocks * 512 < 1 << 20
    assert layer.read_bytes().startswith(b"layer")


def test_one_data_disk_is_never_in_two_machines(config: MachineConfig, tmp_path: Path) -> None:
    data = tmp_path / "data.img"
    create_disk(data, GIB)

    async def plug(machine: Machine) -> None:
        fd = open_disk(data)
        try:
            await machine.plug_disk(serial="data", fd=fd, read_only=False)
        finally:
            os.close(fd)

    async def body(machine: Machine) -> None:
        await plug(machine)
        other = replace(config, console_log=tmp_path / "other.log")
        async with start_machine(other) as second:
            with pytest.raises(ConflictError, match="in use by another machine: `data`"):
                await plug(second)
            machine.signal(signal.SIGKILL)
            await machine.wait()
            await plug(second)  # it is free again, and so is the port

    use(config, body)


def test_a_read_only_file_cannot_be_plugged_writable(config: MachineConfig) -> None:
    async def body(machine: Machine) -> None:
        with config.tools.image.open("rb") as file:
            with pytest.raises(PermanentError, match="QEMU refused `blockdev-add`"):
                await machine.plug_disk(serial="data", fd=file.fileno(), read_only=False)
            await machine.plug_disk(serial="data", fd=file.fileno(), read_only=True)

    use(config, body)


def test_a_share_is_plugged_and_works_both_ways(
    config: MachineConfig, runtime: RuntimeBundle, tmp_path: Path
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "hello").write_text("from the host")
    mounts = (Mount(source=folder, target=Path("/work")),)

    async def body(machine: Machine) -> None:
        sock = machine.agent_socket
        await ask(sock, "true")
        async with open_share(runtime, mounts, log_path=tmp_path / "share.log") as share:
            with share.connect() as connection:
                await machine.plug_share(tag="share", sock=connection)
            mount = "while ! $b mount -t virtiofs share /mnt 2>/dev/null; do $b sleep 0.05; done"
            await ask(sock, mount)
            assert await ask(sock, "$b cat /mnt/0/hello") == "from the host"
            await ask(sock, "printf 'from the guest' >/mnt/0/answer")
            machine.signal(signal.SIGKILL)
            await machine.wait()

    use(config, body)
    assert (folder / "answer").read_text() == "from the guest"


def test_a_killed_qemu_is_told(config: MachineConfig) -> None:
    async def body(machine: Machine) -> None:
        await ask(machine.agent_socket, "true")
        os.kill(machine.pid, signal.SIGKILL)

    assert use(config, body).end.reason is EndReason.KILLED


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("$b poweroff -f", EndReason.POWERED_OFF),
        ("$b reboot -f", EndReason.RESET),
        ("echo c >/proc/sysrq-trigger", EndReason.PANICKED),
    ],
)
def test_ends_that_the_guest_makes(config: MachineConfig, line: str, reason: EndReason) -> None:
    async def body(machine: Machine) -> None:
        await ask(machine.agent_socket, "true")
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(machine.agent_socket, f"x {line}\n".encode())
        await machine.ended.wait()

    end = use(config, body).end
    assert (end.reason, end.exit_status) == (reason, 0)


def test_a_guest_that_ignores_the_power_button_is_ended_in_order(config: MachineConfig) -> None:
    async def body(machine: Machine) -> None:
        await ask(machine.agent_socket, "true")
        deadlines = StopDeadlines(power_button_s=0.5, quit_s=30)
        assert await stop_machine(machine, None, deadlines=deadlines) is StopStep.QMP_QUIT

    assert use(config, body).end.reason is EndReason.QUIT


def test_a_flood_on_the_console_is_bounded(config: MachineConfig) -> None:
    async def body(machine: Machine) -> None:
        sock = machine.agent_socket
        await ask(
            sock, "$b dd if=/dev/zero bs=64k count=24 2>/dev/null | $b tr '\\0' x >/dev/ttyS0"
        )
        assert await ask(sock, "echo alive") == "alive\n"

    use(config, body)
    assert 512 << 10 <= config.console_log.stat().st_size <= 1 << 20


def test_more_memory_than_there_is_fails_with_a_sentence(config: MachineConfig) -> None:
    huge = replace(config, resources=replace(config.resources, memory_bytes=1 << 50))
    with pytest.raises((HostError, PermanentError), match=r"memory|does not start") as caught:
        use(huge, lambda _: asyncio.sleep(0))
    assert caught.value.details


def test_limits_hold_the_whole_machine(config: MachineConfig) -> None:
    support = find_support()
    if support.parent is None:
        pytest.skip(f"needs a cgroup of our own: {support.reason}")
    limits = CgroupLimits(memory_bytes=GIB, processes=200)

    async def body(machine: Machine) -> None:
        with make_cgroup(support, f"test-{os.getpid()}", limits) as cgroup:
            assert cgroup is not None
            cgroup.add(machine.pid)
            assert cgroup.pids() == (machine.pid,)
        assert not cgroup.path.exists()
        await machine.ended.wait()  # removing the cgroup killed what was in it

    assert use(config, body).end.reason is EndReason.KILLED


@pytest.mark.parametrize("is_held", [True, False])
def test_nothing_begins_in_a_jail_whose_starter_is_dead(
    runtime: RuntimeBundle, is_held: bool
) -> None:
    """bwrap cannot tell: its starter may die before it asks to die with it."""
    alive, ours = os.pipe2(os.O_CLOEXEC)
    with owned_fd(alive):
        if not is_held:
            os.close(ours)
        command = Jail(root=runtime.root, alive_fd=alive).command(["busybox", "echo", "begun"])
        done = run(command, pass_fds=(alive,), timeout_s=30, check=False)
        if is_held:
            os.close(ours)
    assert done.stdout == (b"begun\n" if is_held else b"")
