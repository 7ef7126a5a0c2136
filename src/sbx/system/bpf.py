# SPDX-License-Identifier: Apache-2.0
"""Steps of a classic BPF program for seccomp(2): what our filters are made of. Pure."""

from __future__ import annotations

import struct

LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
ALLOW, NOTIFY, ERRNO, KILL = 0x7FFF0000, 0x7FC00000, 0x00050000, 0x80000000  # linux/seccomp.h
OFFSET_NUMBER, OFFSET_ARCH, OFFSET_ARGS = 0, 4, 16  # struct seccomp_data
_X32_BIT = 0x40000000


def step(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter; the jumps are counted in steps to leave out."""
    return struct.pack("<HBBI", code, if_true, if_false, value)


def argument(number: int) -> int:
    """Where the lower half of an argument of the call is."""
    return OFFSET_ARGS + 8 * number


def begin(audit_arch: int) -> list[bytes]:
    """Kill calls of another architecture, whose numbers mean something else; load the number."""
    return [
        step(LOAD, OFFSET_ARCH),
        step(EQUAL, audit_arch, if_true=1),
        step(RETURN, KILL),
        step(LOAD, OFFSET_NUMBER),
        step(AT_LEAST, _X32_BIT, if_false=1),
        step(RETURN, KILL),
    ]
