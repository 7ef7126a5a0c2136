# SPDX-License-Identifier: Apache-2.0
"""What the sandbox's first process does before it becomes the sandbox's pid 1.

It starts in a new pid namespace, makes the others, puts the overlay together and makes it its root.
From then on every path is resolved inside the sandbox by the kernel, so whatever symbolic links an
earlier run left there lead nowhere else. Sources from outside are taken as detached mounts before.
"""

from __future__ import annotations

import os
import signal
import socket
import stat

from . import cgroups, engine
from .files import ensure_agent, make_folders, make_target, real_folder, write_identity
from .loop import close_quietly
from .plan import Mount
from .syscalls import (
    CLONE_NEWCGROUP,
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWUTS,
    MNT_DETACH,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    MS_SHARED,
    attach_tree,
    make_tree_read_only,
    mount,
    open_tree,
    pivot_root_here,
    setns,
    unmount,
    unshare,
)
from .trust import write_trust

# Folders on the data disk that the sandbox sees at a place of their own: an overlay cannot hold the
# upper layer of another overlay, and that is what container engines keep there.
DISK_FOLDERS = {"docker": "/var/lib/docker", "containerd": "/var/lib/containerd"}
_DEVICES = (
    # name, major, minor, mode
    ("null", 1, 3, 0o666),
    ("zero", 1, 5, 0o666),
    ("full", 1, 7, 0o666),
    ("random", 1, 8, 0o666),
    ("urandom", 1, 9, 0o666),
    ("tty", 5, 0, 0o666),
    ("kmsg", 1, 11, 0o600),
    ("fuse", 10, 229, 0o666),
    ("net/tun", 10, 200, 0o666),
)
_DEVICE_LINKS = (
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
)
_KERNEL_FLAGS = MS_NOSUID | MS_NODEV | MS_NOEXEC


class Setup:
    """Where the parts of the sandbox are in the guest root, and what it is called."""

    __slots__ = (
        "data", "gateway", "hostname", "init", "layers", "machine_id", "mounts", "network", "share",
        "trust", "use_cgroups", "workdir",
    )  # fmt: skip

    def __init__(self, *, hostname: str, machine_id: str, gateway: str | None) -> None:
        self.hostname = hostname
        self.machine_id = machine_id
        self.gateway = gateway
        self.layers: list[str] = []  # folders, lowest first
        self.data = ""  # folder
        self.share: str | None = None  # folder
        self.mounts: list[Mount] = []
        self.network: int | None = None  # its network namespace; None: a new, empty one
        self.init: list[str] = []  # program and arguments of pid 1; must run on any root
        self.workdir = "/"
        self.trust: str | None = None  # PEM of an authority
        self.use_cgroups = True


def become_init(setup: Setup, report: socket.socket) -> None:
    """Build the sandbox around the calling process, report, and become its pid 1; never returns.

    The report is `ok` with a descriptor of the sandbox's /dev/pts, and that of the engine's socket
    if it has an engine (`ok engine`: which is wanted now); or `no` and a reason.
    """
    try:
        os.setsid()
        os.umask(0o022)
        _enter_namespaces(setup)
        program = os.open(setup.init[0], os.O_RDONLY | os.O_CLOEXEC)
        trees = _take_trees(setup)
        _enter_root(setup)
        _mount_kernel_folders(setup)
        _make_devices()
        write_identity(hostname=setup.hostname, machine_id=setup.machine_id, gateway=setup.gateway)
        if setup.trust is not None:
            write_trust(setup.trust)
        ensure_agent()
        _attach_trees(trees)
        _ensure_workdir(setup.workdir)
        mount("", "/", "", MS_REC | MS_SHARED)  # containers with their own mounts expect it
        _report_and_run(setup, program, report)
    except BaseException as error:  # noqa: BLE001 - the process ends here, the reason must get out
        report.sendall(b"no" + f"{type(error).__name__}: {error}".encode(errors="replace")[:4096])
    finally:
        os._exit(1)


def _enter_namespaces(setup: Setup) -> None:
    kinds = CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC
    if setup.network is None:
        kinds |= CLONE_NEWNET
    else:
        setns(setup.network, CLONE_NEWNET)
    if setup.use_cgroups:
        cgroups.enter(cgroups.SANDBOX)  # what the process is in now becomes the namespace's root
        kinds |= CLONE_NEWCGROUP
    unshare(kinds)
    if setup.use_cgroups:
        cgroups.enter(cgroups.INIT)
        cgroups.delegate()
    socket.sethostname(setup.hostname)
    mount("", "/", "", MS_REC | MS_PRIVATE)


def _take_trees(setup: Setup) -> list[tuple[int, str, bool]]:
    """Detached mounts for (tree, target, is_file), outermost targets first."""
    found: list[tuple[int, str, bool]] = []
    for name, target in DISK_FOLDERS.items():
        folder = f"{setup.data}/{name}"
        os.makedirs(folder, mode=0o711, exist_ok=True)
        found.append((open_tree(folder), target, False))
    for item in sorted(setup.mounts, key=lambda m: m.target.count("/")):
        tree = open_tree(f"{setup.share}/{item.index}")
        if item.read_only:
            make_tree_read_only(tree)  # the host refuses to write as well
        found.append((tree, item.target, item.is_file))
    return found


def _enter_root(setup: Setup) -> None:
    upper, work, root = (f"{setup.data}/{name}" for name in ("upper", "work", "root"))
    for folder in (upper, work, root):
        os.makedirs(folder, exist_ok=True)
    lower = ":".join(reversed(setup.layers))
    mount("overlay", root, "overlay", 0, f"lowerdir={lower},upperdir={upper},workdir={work}")
    os.chdir(root)
    pivot_root_here()
    unmount(".", MNT_DETACH)  # the old root lies on top of the new one: its folders are gone now
    os.chdir("/")


def _mount_kernel_folders(setup: Setup) -> None:
    for folder in ("/proc", "/sys", "/dev", "/run", "/tmp", "/var", "/etc"):  # noqa: S108 - the sandbox's own
        real_folder(folder)
    os.chmod("/tmp", 0o1777)  # noqa: S103, S108 - as everywhere
    mount("proc", "/proc", "proc", _KERNEL_FLAGS)
    mount("sysfs", "/sys", "sysfs", _KERNEL_FLAGS)
    if setup.use_cgroups:
        mount("cgroup2", "/sys/fs/cgroup", "cgroup2", _KERNEL_FLAGS)
    mount("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    os.mkdir("/run/lock")
    os.chmod("/run/lock", 0o1777)  # noqa: S103 - as everywhere


def _make_devices() -> None:
    mount("tmpfs", "/dev", "tmpfs", MS_NOSUID, "mode=755,size=64k,nr_inodes=4096")
    for folder in ("net", "pts", "shm", "mqueue"):
        os.mkdir(f"/dev/{folder}")
    os.umask(0)
    for name, major, minor, mode in _DEVICES:
        os.mknod(f"/dev/{name}", mode | stat.S_IFCHR, os.makedev(major, minor))
    os.umask(0o022)
    for name, target in _DEVICE_LINKS:
        os.symlink(target, f"/dev/{name}")
    mount(
        "devpts",
        "/dev/pts",
        "devpts",
        MS_NOSUID | MS_NOEXEC,
        "newinstance,ptmxmode=0666,mode=0620,gid=5",
    )
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")  # noqa: S108 - its own
    mount("mqueue", "/dev/mqueue", "mqueue", _KERNEL_FLAGS)


def _attach_trees(trees: list[tuple[int, str, bool]]) -> None:
    for tree, target, is_file in trees:
        make_target(target, is_file=is_file)
        attach_tree(tree, target)
        os.close(tree)


def _ensure_workdir(path: str) -> None:
    """Commands start there, so it must exist; a file in its place is the user's business."""
    try:
        make_folders(path)
    except OSError:
        return


def _report_and_run(setup: Setup, program: int, report: socket.socket) -> None:
    pts = os.open("/dev/pts", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    fds, text = [pts], b"ok"
    served = engine.open_socket() if setup.use_cgroups else None
    if served is not None:
        fds.append(served.fileno())
        text = b"ok engine" if engine.is_wanted() else text
    socket.send_fds(report, [text], fds)
    null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    close_quietly(pts)
    # A process that ignores SIGCHLD has its children reaped by the kernel, so the simplest program
    # is a full init. As a namespace's pid 1 it cannot be killed or stopped from inside.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    os.execve(program, [os.path.basename(setup.init[0]), *setup.init[1:]], {})  # noqa: S606 - no shell: that is the point
