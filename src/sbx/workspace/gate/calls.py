# SPDX-License-Identifier: Apache-2.0
"""The system calls with which the file server reaches a name of the share, and a filter for them.

Such a call is not answered by the kernel but told to the gate's helper (seccomp_unotify(2)), which
lets it go on or refuses it. The server is one thread and no guest can write its memory, so what the
helper reads of a call is what the kernel reads after it: there is no race. Pure.
"""

from __future__ import annotations

from sbx.system.bpf import ALLOW, ANY_BIT, EQUAL, LOAD, NOTIFY, RETURN, argument, begin, step

OPENAT, MKDIRAT, MKNODAT, UNLINKAT, RENAMEAT, LINKAT, SYMLINKAT, RENAMEAT2, SECCOMP = range(9)

_NUMBERS = {  # in the order of the names above
    "x86_64": (257, 258, 259, 263, 264, 265, 266, 316, 317),
    "aarch64": (56, 34, 33, 35, 38, 37, 36, 276, 277),
}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # linux/audit.h
_FLAGS = 2  # of openat: the argument
PATH = 0o10000000  # O_PATH: how the server looks something up
CREATE = 0o100
_WRITES = 0o3 | CREATE | 0o1000  # O_ACCMODE, O_CREAT, O_TRUNC


def numbers(machine: str) -> dict[int, int]:
    """The calls by their number on a machine, as in uname(2) (KeyError: it is not supported)."""
    return {number: call for call, number in enumerate(_NUMBERS[machine])}


def seccomp_number(machine: str) -> int:
    """The number of seccomp(2) itself."""
    return _NUMBERS[machine][SECCOMP]


def gate_filter(machine: str, *, looks: bool) -> bytes:
    """Tell of calls that make, change or remove something; with `looks`, of look-ups too.

    Raises:
        KeyError: this machine is not supported.
    """
    all_numbers = _NUMBERS[machine]
    program = begin(_AUDIT_ARCH[machine])
    told = step(RETURN, NOTIFY)
    for call in (MKDIRAT, MKNODAT, UNLINKAT, RENAMEAT, LINKAT, SYMLINKAT, RENAMEAT2):
        program += [step(EQUAL, all_numbers[call], if_false=1), told]
    looked_up = told if looks else step(RETURN, ALLOW)
    program += [
        step(EQUAL, all_numbers[OPENAT], if_false=6),
        step(LOAD, argument(_FLAGS)),
        step(ANY_BIT, PATH, if_false=1),
        looked_up,
        step(ANY_BIT, _WRITES, if_false=1),
        told,
        step(RETURN, ALLOW),
        step(RETURN, ALLOW),
    ]
    return b"".join(program)
