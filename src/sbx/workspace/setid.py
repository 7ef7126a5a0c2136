# SPDX-License-Identifier: Apache-2.0
"""The seccomp filter that keeps set-user-id and set-group-id bits out of shares: pure bytes.

A guest owns its files as the host user, so `chmod u+s` inside would make a program on the host that
runs as that user for whoever can reach it. The file server has no option against it, but the mode
is a plain argument of nearly every call that can set it. See seccomp(2) and bwrap(1) --seccomp.
"""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # linux/bpf_common.h
_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000  # linux/seccomp.h
_OFFSET_NUMBER, _OFFSET_ARCH, _OFFSET_ARGS = 0, 4, 16  # struct seccomp_data
_SETID_BITS = 0o6000
_MAKES_A_FILE = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE: only then is `mode` an argument
_X32_BIT = 0x40000000


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    """A system call that takes a mode."""

    number: int
    mode: int  # index of the argument
    flags: int | None = None  # of the argument that says whether there is a mode


@dataclass(frozen=True, slots=True, kw_only=True)
class _Architecture:
    audit: int  # AUDIT_ARCH_*, linux/audit.h
    calls: tuple[_Call, ...]
    unreadable: tuple[int, ...] = (437,)  # openat2: its mode is in memory; callers fall back


_ARCHITECTURES = {
    "x86_64": _Architecture(
        audit=0xC000003E,
        calls=(
            _Call(number=2, mode=2, flags=1),  # open
            _Call(number=83, mode=1),  # mkdir
            _Call(number=85, mode=1),  # creat
            _Call(number=90, mode=1),  # chmod
            _Call(number=91, mode=1),  # fchmod
            _Call(number=133, mode=1),  # mknod
            _Call(number=257, mode=3, flags=2),  # openat
            _Call(number=258, mode=2),  # mkdirat
            _Call(number=259, mode=2),  # mknodat
            _Call(number=268, mode=2),  # fchmodat
            _Call(number=452, mode=2),  # fchmodat2
        ),
    ),
    "aarch64": _Architecture(
        audit=0xC00000B7,
        calls=(
            _Call(number=33, mode=2),  # mknodat
            _Call(number=34, mode=2),  # mkdirat
            _Call(number=52, mode=1),  # fchmod
            _Call(number=53, mode=2),  # fchmodat
            _Call(number=56, mode=3, flags=2),  # openat
            _Call(number=452, mode=2),  # fchmodat2
        ),
    ),
}


def setid_filter(machine: str) -> bytes:
    """The filter for `machine` (as in uname(2)): EPERM for a mode with set-id bits.

    Raises:
        KeyError: this machine is not supported.
    """
    arch = _ARCHITECTURES[machine]
    program = [
        _step(_LOAD, _OFFSET_ARCH),
        _step(_EQUAL, arch.audit, if_true=1),
        _step(_RETURN, _KILL),
        _step(_LOAD, _OFFSET_NUMBER),
        _step(_AT_LEAST, _X32_BIT, if_false=1),
        _step(_RETURN, _KILL),
    ]
    for number in arch.unreadable:
        program += [
            _step(_EQUAL, number, if_false=1),
            _step(_RETURN, _ERRNO | errno.ENOSYS),
        ]
    for call in arch.calls:
        check = _check(call)
        program += [_step(_EQUAL, call.number, if_false=len(check)), *check]
    program.append(_step(_RETURN, _ALLOW))
    return b"".join(program)


def _check(call: _Call) -> list[bytes]:
    """What is done once the number has matched; it always returns."""
    no_mode: list[bytes] = []
    if call.flags is not None:
        no_mode = [
            _step(_LOAD, _OFFSET_ARGS + 8 * call.flags),
            _step(_ANY_BIT, _MAKES_A_FILE, if_true=1),
            _step(_RETURN, _ALLOW),
        ]
    return [
        *no_mode,
        _step(_LOAD, _OFFSET_ARGS + 8 * call.mode),
        _step(_ANY_BIT, _SETID_BITS, if_false=1),
        _step(_RETURN, _ERRNO | errno.EPERM),
        _step(_RETURN, _ALLOW),
    ]


def _step(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter; the jumps are counted in steps to leave out."""
    return struct.pack("<HBBI", code, if_true, if_false, value)
