# SPDX-License-Identifier: Apache-2.0
"""System calls that Python 3.11 has no name for. Each raises OSError with the errno."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_NOATIME = 1024
MS_REC, MS_PRIVATE, MS_SHARED = 16384, 1 << 18, 1 << 20
MNT_DETACH = 2

# The same numbers on every architecture (arch/*/syscall.tbl, since Linux 5.1 all new calls are).
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_EMPTY_PATH, _AT_RECURSIVE, _AT_FDCWD = 0x1000, 0x8000, -100
_MOUNT_ATTR_RDONLY = 1
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long
# Looked up here and not in each forked child.
_setns, _prctl, _signal = _libc.setns, _libc.prctl, _libc.signal
_signal.argtypes, _signal.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def _check(result: int, what: str) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")
    return result


def mount(source: str, target: str, kind: str, flags: int = 0, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode(),
        ctypes.c_ulong(flags),
        os.fsencode(data),
    )
    _check(result, f"mount {kind} on {target}")


def unmount(target: str, flags: int = 0) -> None:
    """umount2(2)."""
    _check(_libc.umount2(os.fsencode(target), flags), f"unmount {target}")


def unshare(flags: int) -> None:
    """unshare(2)."""
    _check(_libc.unshare(flags), "unshare")


def setns(fd: int, kind: int) -> None:
    """setns(2); `fd` is one namespace, or a pidfd and `kind` says which of its namespaces."""
    _check(_setns(fd, kind), "setns")


def pivot_root_here() -> None:
    """pivot_root(".", "."): the current folder becomes the root, the old root lies on top of it."""
    number = _PIVOT_ROOT[os.uname().machine]
    _check(_libc.syscall(ctypes.c_long(number), b".", b"."), "pivot_root")


def open_tree(path: str, *, recursive: bool = True) -> int:
    """A detached copy of the mount at `path`, see open_tree(2); close the descriptor to drop it."""
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    result = _libc.syscall(
        ctypes.c_long(_OPEN_TREE), ctypes.c_int(_AT_FDCWD), os.fsencode(path), ctypes.c_uint(flags)
    )
    return _check(result, f"open_tree {path}")


def attach_tree(tree: int, target: str) -> None:
    """Mount a detached tree at `target` (move_mount(2))."""
    result = _libc.syscall(
        ctypes.c_long(_MOVE_MOUNT),
        ctypes.c_int(tree),
        b"",
        ctypes.c_int(_AT_FDCWD),
        os.fsencode(target),
        ctypes.c_uint(_MOVE_MOUNT_F_EMPTY_PATH),
    )
    _check(result, f"mount on {target}")


def make_tree_read_only(tree: int) -> None:
    """Forbid writing to a detached tree and everything mounted in it (mount_setattr(2))."""
    attr = _MountAttr(_MOUNT_ATTR_RDONLY, 0, 0, 0)
    result = _libc.syscall(
        ctypes.c_long(_MOUNT_SETATTR),
        ctypes.c_int(tree),
        b"",
        ctypes.c_uint(_AT_EMPTY_PATH | _AT_RECURSIVE),
        ctypes.byref(attr),
        ctypes.c_size_t(ctypes.sizeof(attr)),
    )
    _check(result, "mount_setattr")


def hide_from_debuggers() -> None:
    """No core dump, and no ptrace(2) by processes without the capability (prctl(2))."""
    _check(_prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "prctl")


def die_with_parent() -> None:
    """KILL this process when the agent's thread ends (prctl(2))."""
    _check(_prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0), "prctl")


def reset_signals(numbers: tuple[int, ...]) -> None:
    """Give signals their default action; only for a process that is about to run a program.

    `signal.signal` would do, ten times slower: it makes enums of everything.
    """
    for number in numbers:
        _signal(number, None)


def lock_memory() -> None:
    """Keep what the agent has touched in memory, and what it will touch (mlockall(2))."""
    current, future, on_fault = 1, 2, 4
    _check(_libc.mlockall(current | future | on_fault), "mlockall")


def power_off() -> None:
    """reboot(2) with LINUX_REBOOT_CMD_POWER_OFF; does not return on success."""
    _check(_libc.reboot(ctypes.c_int(0x4321FEDC)), "reboot")
