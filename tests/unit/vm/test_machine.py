# SPDX-License-Identifier: Apache-2.0
"""A machine from its start to its end, with a program of ours in QEMU's place."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from sbx.errors import ConflictError, HostError, PermanentError, SbxError, TransientError
from sbx.sandbox.parts import Accel
from sbx.system.fds import socket_pair
from sbx.system.jail import Jail
from sbx.vm import endpoints, machine
from sbx.vm.devices import HOTPLUG_PORTS
from sbx.vm.machine import Machine, MachineConfig, start_machine
from sbx.vm.outcome import EndReason, MachineEnd

Pretend = Callable[[str], None]


def until_end(config: MachineConfig) -> MachineEnd:
    """Start a machine and let it end as it was told to."""

    async def main() -> MachineEnd:
        async with start_machine(config) as made:
            with contextlib.suppress(TransientError):  # the end may be there before the answer
                await made.resume()
            return await made.wait()

    return asyncio.run(main())


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def console_says(made: Machine, text: str) -> None:
    """Wait for the console; the test's own time limit is the deadline."""
    while text not in made.console_tail():  # noqa: ASYNC110 - the console has no event
        await asyncio.sleep(0.01)


def test_leaving_the_block_ends_everything(
    config: MachineConfig, pretend: Pretend, open_fds: Callable[[], int]
) -> None:
    pretend("normal")
    before = open_fds()

    async def main() -> int:
        async with start_machine(config) as made:
            assert is_alive(made.pid)
            assert not made.ended.is_set()
            return made.pid

    pid = asyncio.run(main())
    assert not is_alive(pid)
    assert open_fds() == before


def test_quit_is_told_as_the_reason(config: MachineConfig, pretend: Pretend) -> None:
    pretend("normal")

    async def main() -> MachineEnd:
        async with start_machine(config) as made:
            await made.quit()
            return await made.wait()

    end = asyncio.run(main())
    assert end.reason is EndReason.QUIT
    assert end.exit_status == 0
    assert "<quit>" in end.console
    assert "<quit>" in config.console_log.read_text()


def test_a_killed_qemu_is_told(config: MachineConfig, pretend: Pretend) -> None:
    pretend("normal")

    async def main() -> MachineEnd:
        async with start_machine(config) as made:
            os.kill(made.pid, signal.SIGKILL)
            return await made.wait()

    end = asyncio.run(main())
    assert end.reason is EndReason.KILLED
    assert str(end) == "killed (signal 9)"


@pytest.mark.parametrize(
    ("behaviour", "reason", "status"),
    [
        ("end:power-off", EndReason.POWERED_OFF, 0),
        ("end:panic", EndReason.PANICKED, 0),
        ("end:crash", EndReason.CRASHED, 3),
    ],
)
def test_how_it_ended(
    config: MachineConfig, pretend: Pretend, behaviour: str, reason: EndReason, status: int
) -> None:
    pretend(behaviour)
    end = until_end(config)
    assert (end.reason, end.exit_status) == (reason, status)
    assert ("something broke" in end.stderr) == (behaviour == "end:crash")


def test_a_panic_keeps_the_evidence_without_terminal_control(
    config: MachineConfig, pretend: Pretend
) -> None:
    pretend("end:panic")
    console = until_end(config).console
    assert "Kernel panic - not syncing: [31mAttempted to kill init!\n" in console


def test_a_flood_on_the_console_is_bounded(config: MachineConfig, pretend: Pretend) -> None:
    pretend("end:flood")
    end = until_end(config)
    assert config.console_log.stat().st_size <= 1 << 20
    assert len(end.console) <= 16 << 10


def test_a_full_host_disk_is_noticed_until_it_resumes(
    config: MachineConfig, pretend: Pretend
) -> None:
    pretend("end:disk-full")

    async def main() -> None:
        async with start_machine(config) as made:
            await made.resume()
            while not made.is_disk_full:  # noqa: ASYNC110 - the console has no event
                await asyncio.sleep(0.01)
            await made.resume()
            while made.is_disk_full:  # noqa: ASYNC110 - the console has no event
                await asyncio.sleep(0.01)

    asyncio.run(main())


def _no_tools(config: MachineConfig) -> MachineConfig:
    config.tools.image.unlink()
    return config


def _no_initramfs(config: MachineConfig) -> MachineConfig:
    config.tools.initramfs.unlink()
    return config


def _no_log_folder(config: MachineConfig) -> MachineConfig:
    return replace(config, console_log=Path("/nowhere/console.log"))


def _foreign_kernel(config: MachineConfig) -> MachineConfig:
    return replace(config, runtime=replace(config.runtime, kernel=Path("/boot/vmlinuz")))


def _no_kvm(config: MachineConfig) -> MachineConfig:
    return replace(config, accel=Accel.KVM)


def _as_it_is(config: MachineConfig) -> MachineConfig:
    return config


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A start that fails at one step."""

    spoil: Callable[[MachineConfig], MachineConfig] = _as_it_is
    behaviour: str = "normal"
    error: type[SbxError] = PermanentError
    words: str


FAILING = (
    Failing(spoil=_no_kvm, error=HostError, words="no hardware virtualisation"),
    Failing(spoil=_no_tools, words="guest tools is missing"),
    Failing(spoil=_no_initramfs, words="guest tools is missing"),
    Failing(spoil=_no_log_folder, error=HostError, words="cannot open console log"),
    Failing(spoil=_foreign_kernel, words="not in the runtime bundle"),
    Failing(behaviour="dies", words="QEMU ended with status 1"),
    Failing(behaviour="no-namespaces", error=HostError, words="jail for the machine cannot be"),
    Failing(behaviour="no-memory", error=HostError, words="not enough memory"),
    Failing(behaviour="silent", words="QEMU did not answer"),
    Failing(behaviour="garbage", words="does not start"),
)


@pytest.mark.parametrize("case", FAILING, ids=lambda case: case.words)
def test_each_failed_step_undoes_those_before(
    config: MachineConfig,
    pretend: Pretend,
    open_fds: Callable[[], int],
    monkeypatch: pytest.MonkeyPatch,
    case: Failing,
) -> None:
    pretend(case.behaviour)
    # Long enough for an interpreter to start, so that what it says is what is tested.
    monkeypatch.setattr(machine, "START_TIMEOUT_S", 1.0 if case.behaviour == "silent" else 4.0)
    monkeypatch.setattr(endpoints, "KVM_DEVICE", Path("/nowhere/kvm"))
    before = open_fds()
    with pytest.raises(case.error, match=case.words) as caught:
        until_end(case.spoil(config))
    assert open_fds() == before
    assert not Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().strip()
    if case.behaviour == "dies":
        assert "cannot do that" in (caught.value.details or "")


def test_a_qemu_that_ends_when_it_is_ready_is_told(
    config: MachineConfig, pretend: Pretend, open_fds: Callable[[], int]
) -> None:
    """The end may be seen by the start or by the wait after it; never by a hang."""
    pretend("ends-at-once")
    before = open_fds()
    try:
        told = str(until_end(config))
    except PermanentError as error:
        told = error.message
    assert told in {
        "crashed (status 0)", "the machine does not start: QEMU ended with status 0",
    }  # fmt: skip
    assert open_fds() == before


def test_a_missing_bubblewrap_is_named(
    config: MachineConfig, monkeypatch: pytest.MonkeyPatch, open_fds: Callable[[], int]
) -> None:
    def no_jail(_jail: Jail, _program: Sequence[str | Path]) -> list[str]:
        return ["no-such-bwrap"]

    monkeypatch.setattr(Jail, "command", no_jail)
    before = open_fds()
    with pytest.raises(HostError, match="program not found: `no-such-bwrap`"):
        until_end(config)
    assert open_fds() == before


def test_plugging_speaks_of_nothing_but_descriptors(
    config: MachineConfig, pretend: Pretend, tmp_path: Path
) -> None:
    pretend("normal")
    near, far = socket_pair()

    async def main() -> str:
        async with start_machine(config) as made:
            with (tmp_path / "disk").open("wb") as disk:
                await made.plug_disk(serial="data", fd=disk.fileno(), read_only=False)
            await made.plug_share(tag="share", sock=near)
            await console_says(made, "<chardev-add>\n<device_add>")
            return made.console_tail()

    with near, far:
        console = asyncio.run(main())
    assert console.split() == [
        "<add-fd>", "<blockdev-add>", "<device_add>", "<getfd>", "<chardev-add>", "<device_add>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("refused", "undone"),
    [
        ("add-fd", []),
        ("blockdev-add", ["<remove-fd>"]),
        ("device_add", ["<blockdev-del>", "<remove-fd>"]),
        ("device_add:locked", ["<blockdev-del>", "<remove-fd>"]),
    ],
)
def test_a_refused_disk_is_undone(
    config: MachineConfig, pretend: Pretend, tmp_path: Path, refused: str, undone: list[str]
) -> None:
    pretend(f"refuse:{refused}")

    async def main() -> str:
        async with start_machine(config) as made:
            with (tmp_path / "disk").open("wb") as disk:
                error = ConflictError if refused.endswith("locked") else PermanentError
                for _ in range(HOTPLUG_PORTS + 1):  # a port is not used up by a failure
                    with pytest.raises(error, match=r"in use|QEMU refused"):
                        await made.plug_disk(serial="data", fd=disk.fileno(), read_only=False)
            await made.quit()
            return (await made.wait()).console

    console = asyncio.run(main()).split()
    rounds = (len(console) - 1) // (HOTPLUG_PORTS + 1)
    command = refused.partition(":")[0]
    first = console[:rounds]
    assert first[first.index(f"<{command}>") + 1 :] == undone


def test_a_refused_share_is_undone(config: MachineConfig, pretend: Pretend) -> None:
    pretend("refuse:device_add")
    near, far = socket_pair()

    async def main() -> str:
        async with start_machine(config) as made:
            with pytest.raises(PermanentError, match="QEMU refused `device_add`"):
                await made.plug_share(tag="share", sock=near)
            await made.quit()
            return (await made.wait()).console

    with near, far:
        console = asyncio.run(main())
    assert "<device_add>\n<chardev-remove>" in console


def test_ports_run_out_with_a_sentence(
    config: MachineConfig, pretend: Pretend, tmp_path: Path
) -> None:
    pretend("normal")

    async def main() -> None:
        async with start_machine(config) as made:
            with (tmp_path / "disk").open("wb") as disk:
                for number in range(HOTPLUG_PORTS):
                    await made.plug_disk(serial=f"d{number}", fd=disk.fileno(), read_only=True)
                with pytest.raises(PermanentError, match="hot-plug ports"):
                    await made.plug_disk(serial="more", fd=disk.fileno(), read_only=True)

    asyncio.run(main())
