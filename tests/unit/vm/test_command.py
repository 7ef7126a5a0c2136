# SPDX-License-Identifier: Apache-2.0
"""QEMU's command line, as a whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from sbx.errors import PermanentError
from sbx.sandbox.parts import RuntimeBundle
from sbx.vm.command import (
    PROGRAM,
    MachineDescriptors,
    kernel_in_jail,
    machine_devices,
    render,
)

FDS = MachineDescriptors(
    console=10,
    monitor=11,
    control=12,
    tools=13,
    initramfs=14,
    kvm=None,
    taps=((15, "52:54:00:73:62:01"), (16, "52:54:00:73:62:02")),
)

EMULATED = """\
-nodefaults
-no-user-config
-display none
-sandbox on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny
-machine q35,sata=off,smbus=off,usb=off,vmport=off,hpet=on,memory-backend=ram
-no-reboot
-accel tcg,thread=multi,tb-size=128
-cpu max,-erms,-fsrm
-smp 2
-m 1073741824B
-object memory-backend-memfd,id=ram,size=1073741824B,share=on
-kernel /boot/vmlinuz-1
-initrd /proc/self/fd/14
-append console=ttyS0 quiet panic=-1 cryptomgr.notests tsc=reliable nowatchdog maxcpus=1
-chardev socket,id=console,fd=10
-serial chardev:console
-chardev socket,id=monitor,fd=11
-mon chardev=monitor,mode=control
-device virtio-serial-pci-non-transitional,max_ports=2
-chardev socket,id=control,fd=12
-device virtserialport,chardev=control,name=org.opensbx.control
-add-fd fd=13,set=1
-blockdev driver=raw,node-name=tools,read-only=on,file.driver=file,file.filename=/dev/fdset/1
-device virtio-blk-pci-non-transitional,drive=tools,serial=tools
-netdev tap,id=net0,fd=15,vhost=off
-device virtio-net-pci-non-transitional,netdev=net0,mac=52:54:00:73:62:01,romfile=
-netdev tap,id=net1,fd=16,vhost=off
-device virtio-net-pci-non-transitional,netdev=net1,mac=52:54:00:73:62:02,romfile=
-object rng-builtin,id=random
-device virtio-rng-pci-non-transitional,rng=random
-device virtio-balloon-pci-non-transitional,free-page-reporting=on
"""


def lines(fds: MachineDescriptors, cpus: int) -> list[str]:
    kernel = PurePosixPath("/boot/vmlinuz-1")
    devices = machine_devices(kernel, cpus=cpus, memory_bytes=1 << 30, fds=fds)
    return [
        f"{option} {value}".rstrip() for device in devices for option, value in device.options()
    ]


def test_the_emulated_machine() -> None:
    made = lines(FDS, cpus=2)
    expected = EMULATED.splitlines()
    assert made[: len(expected)] == expected
    ports = made[len(expected) :]
    assert ports == [
        f"-device pcie-root-port,id=hot{n},chassis={n + 1},slot={n + 1},io-reserve=0"
        for n in range(8)
    ]


def test_kvm_comes_as_a_descriptor() -> None:
    made = lines(replace(FDS, kvm=17), cpus=1)
    assert "-add-fd fd=17,set=2" in made
    assert "-accel kvm,device=/dev/fdset/2" in made
    assert "-cpu host" in made
    assert not [line for line in made if "tcg" in line]


def test_one_emulated_processor_needs_no_threads() -> None:
    assert "-accel tcg,thread=single,tb-size=128" in lines(FDS, cpus=1)


def test_every_descriptor_is_inherited() -> None:
    assert sorted(FDS.all()) == [10, 11, 12, 13, 14, 15, 16]
    assert 17 in replace(FDS, kvm=17).all()


def test_options_without_a_value_stand_alone() -> None:
    devices = machine_devices(PurePosixPath("/k"), cpus=1, memory_bytes=1 << 29, fds=FDS)
    args = render(devices)
    assert args[:3] == [PROGRAM, "-nodefaults", "-no-user-config"]
    assert "" not in args


def test_no_path_of_the_host_is_named() -> None:
    for line in lines(FDS, cpus=1):
        for word in line.replace("=", " ").replace(",", " ").split():
            known = ("/dev/fdset/", "/proc/self/fd/", "/boot/vmlinuz-1")
            assert not word.startswith("/") or word.startswith(known)


def test_a_kernel_outside_the_bundle_is_refused(runtime: RuntimeBundle) -> None:
    assert kernel_in_jail(runtime) == PurePosixPath("/boot/vmlinuz-1")
    with pytest.raises(PermanentError, match="not in the runtime bundle"):
        kernel_in_jail(replace(runtime, kernel=Path("/boot/vmlinuz-1")))
