# SPDX-License-Identifier: Apache-2.0
"""The seccomp filter that keeps set-user-id and set-group-id bits out of shares: pure bytes.

A guest owns its files as the host user, so `chmod u+s` inside would make a program on the host that
runs as that user for whoever can reach it. The file server has no option against it, but the mode
is a plain argument of nearly every call that can set it. See seccomp(2) and bwrap(1) --seccomp.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass

from sbx.system.bpf import ALLOW, ANY_BIT, EQUAL, ERRNO, LOAD, RETURN, argument, begin, step

_SETID_BITS = 0o6000
_MAKES_A_FILE = 0o100 | 0o20000000  # O_CREAT, __O_TMPFILE: only then is `mode` an argument


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
    program = begin(arch.audit)
    for number in arch.unreadable:
        program += [
            step(EQUAL, number, if_false=1),
            step(RETURN, ERRNO | errno.ENOSYS),
        ]
    for call in arch.calls:
        check = _check(call)
        program += [step(EQUAL, call.number, if_false=len(check)), *check]
    program.append(step(RETURN, ALLOW))
    return b"".join(program)


def _check(call: _Call) -> list[bytes]:
    """What is done once the number has matched; it always returns."""
    no_mode: list[bytes] = []
    if call.flags is not None:
        no_mode = [
            step(LOAD, argument(call.flags)),
            step(ANY_BIT, _MAKES_A_FILE, if_true=1),
            step(RETURN, ALLOW),
        ]
    return [
        *no_mode,
        step(LOAD, argument(call.mode)),
        step(ANY_BIT, _SETID_BITS, if_false=1),
        step(RETURN, ERRNO | errno.EPERM),
        step(RETURN, ALLOW),
    ]
