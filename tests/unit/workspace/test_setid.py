# SPDX-License-Identifier: Apache-2.0
"""The filter, run by an interpreter of its own: classic BPF needs five instructions here."""

from __future__ import annotations

import errno
import struct

import pytest

from sbx.workspace.setid import setid_filter

ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CREATE, TEMPORARY = 0o100, 0o20200000


def verdict(program: bytes, *, arch: int, number: int, args: tuple[int, ...] = ()) -> int:
    data = struct.pack("<IIQ6Q", number, arch, 0, *(args + (0,) * 6)[:6])
    steps = [struct.unpack_from("<HBBI", program, at) for at in range(0, len(program), 8)]
    at, accumulator = 0, 0
    while True:
        code, if_true, if_false, value = steps[at]
        at += 1
        match code:
            case 0x20:
                accumulator = struct.unpack_from("<I", data, value)[0]
            case 0x15:
                at += if_true if accumulator == value else if_false
            case 0x35:
                at += if_true if accumulator >= value else if_false
            case 0x45:
                at += if_true if accumulator & value else if_false
            case 0x06:
                return int(value)
            case _:
                pytest.fail(f"unknown instruction {code:#x}")


# name, number, arguments before the mode
X86_64 = [
    ("mkdir", 83, (0,)),
    ("creat", 85, (0,)),
    ("chmod", 90, (0,)),
    ("fchmod", 91, (0,)),
    ("mknod", 133, (0,)),
    ("open", 2, (0, CREATE)),
    ("open, unnamed", 2, (0, TEMPORARY)),
    ("openat", 257, (0, 0, CREATE)),
    ("openat, unnamed", 257, (0, 0, TEMPORARY)),
    ("mkdirat", 258, (0, 0)),
    ("mknodat", 259, (0, 0)),
    ("fchmodat", 268, (0, 0)),
    ("fchmodat2", 452, (0, 0)),
]
AARCH64 = [
    ("mknodat", 33, (0, 0)),
    ("mkdirat", 34, (0, 0)),
    ("fchmod", 52, (0,)),
    ("fchmodat", 53, (0, 0)),
    ("openat", 56, (0, 0, CREATE)),
    ("fchmodat2", 452, (0, 0)),
]
CALLS = [("x86_64", *call) for call in X86_64] + [("aarch64", *call) for call in AARCH64]


@pytest.mark.parametrize(("machine", "name", "number", "before"), CALLS)
def test_set_id_bits_are_refused_and_other_modes_are_not(
    machine: str, name: str, number: int, before: tuple[int, ...]
) -> None:
    program = setid_filter(machine)
    for mode in (0o4755, 0o2755, 0o6000, 0o104755):
        answer = verdict(program, arch=ARCH[machine], number=number, args=(*before, mode))
        assert answer == ERRNO | errno.EPERM, name
    for mode in (0o777, 0o1777, 0o100644, 0):
        assert verdict(program, arch=ARCH[machine], number=number, args=(*before, mode)) == ALLOW


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 257), ("aarch64", 56)])
def test_without_creation_the_argument_means_nothing(machine: str, number: int) -> None:
    answer = verdict(
        setid_filter(machine), arch=ARCH[machine], number=number, args=(0, 0, 0o2, 0o7777)
    )
    assert answer == ALLOW


@pytest.mark.parametrize("machine", ARCH)
def test_a_mode_in_memory_cannot_be_read_so_the_call_does_not_exist(machine: str) -> None:
    assert verdict(setid_filter(machine), arch=ARCH[machine], number=437) == ERRNO | errno.ENOSYS


def test_another_architecture_ends_the_server() -> None:
    program = setid_filter("x86_64")
    assert verdict(program, arch=0x40000003, number=15) == KILL  # 32-bit calls have other numbers
    assert verdict(program, arch=ARCH["x86_64"], number=0x40000000 | 90) == KILL  # x32


def test_other_calls_pass() -> None:
    program = setid_filter("x86_64")
    for number in (0, 1, 3, 9, 17, 202, 262, 332):
        assert verdict(program, arch=ARCH["x86_64"], number=number, args=(0o7777,) * 6) == ALLOW


def test_an_unknown_machine_is_not_guessed() -> None:
    with pytest.raises(KeyError):
        setid_filter("sparc")
