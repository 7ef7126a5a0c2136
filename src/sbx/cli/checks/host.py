# SPDX-License-Identifier: Apache-2.0
"""Checks of the host: programs, namespaces, devices, disk."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import sbx
from sbx.cli.checks.model import Finding, failed, passed, warned
from sbx.sandbox.units import format_size
from sbx.store.paths import Paths
from sbx.system import userns
from sbx.system.cgroup import find_support
from sbx.system.installed import damaged_files
from sbx.system.process import base_env, run
from sbx.workspace.limits import file_limit_warning

MIN_PYTHON = (3, 11)
FAIL_BELOW_BYTES = 1 << 30
WARN_BELOW_BYTES = 5 << 30


class Package(NamedTuple):
    """A line of `system/packages.txt`."""

    name: str
    probe: str
    reason: str


def packages() -> tuple[Package, ...]:
    """The Debian packages that sbx needs."""
    path = Path(sbx.__file__).parent / "system" / "packages.txt"
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(Package(*line.split("\t")) for line in lines if line and not line.startswith("#"))


def missing_packages() -> tuple[Package, ...]:
    """Those that are not there."""
    return tuple(package for package in packages() if not _is_there(package.probe))


def install_command(wanted: tuple[Package, ...]) -> list[str]:
    """The command that installs packages, for this user."""
    sudo = [] if os.geteuid() == 0 else ["sudo"]
    return [*sudo, "apt-get", "install", "-y", "--no-install-recommends", *(p.name for p in wanted)]


def _is_there(probe: str) -> bool:
    if probe.startswith("python:"):
        return importlib.util.find_spec(probe.removeprefix("python:")) is not None
    if probe.startswith("/"):
        return Path(probe).exists()
    return shutil.which(probe, path=base_env()["PATH"]) is not None


def check_python(_where: Paths) -> Finding:
    """The interpreter that runs us."""
    found = platform.python_version()
    if sys.version_info < MIN_PYTHON:
        return failed(f"Python {found} is too old", hint="Run: sudo apt-get install python3.11")
    return passed(f"Python {found}", detail=sys.executable)


def check_packages(_where: Paths) -> Finding:
    """Programs from Debian packages."""
    missing = missing_packages()
    if not missing:
        return passed(f"all {len(packages())} needed packages are installed")
    reasons = "\n".join(f"{p.name}: {p.reason}" for p in missing)
    names = ", ".join(p.name for p in missing)
    return failed(
        f"missing: {names}", detail=reasons, hint=f"Run: {' '.join(install_command(missing))}"
    )


def check_jail(_where: Paths) -> Finding:
    """bubblewrap, by really entering a jail."""
    bwrap = shutil.which("bwrap", path=base_env()["PATH"])
    if bwrap is None:
        return failed("program not found: `bwrap`", hint="Run: sudo apt-get install bubblewrap")
    args = [
        bwrap,
        "--unshare-all",
        "--cap-drop",
        "ALL",
        "--ro-bind",
        "/",
        "/",
        "--proc",
        "/proc",
        "--dev",
        "/dev",
    ]
    done = run([*args, "--", "/bin/true"], timeout_s=4, check=False)
    if done.returncode == 0:
        return passed("bubblewrap can make a jail")
    why = userns.explain_user_namespaces()
    said = done.stderr.decode(errors="replace").strip()
    return failed(
        "bubblewrap cannot make a jail",
        detail=f"{said}\n{why.message}".strip(),
        hint=why.hint or "",
    )


def check_namespaces(_where: Paths) -> Finding:
    """User namespaces, by making one."""
    return _from_verdict(userns.check_user_namespaces())


def check_tun(_where: Paths) -> Finding:
    """The TAP device."""
    return _from_verdict(userns.check_tun())


def check_firewall(_where: Paths) -> Finding:
    """nftables, by loading rules in a namespace."""
    return _from_verdict(userns.check_nft())


def _from_verdict(verdict: userns.Verdict) -> Finding:
    return (
        passed(verdict.message) if verdict.ok else failed(verdict.message, hint=verdict.hint or "")
    )


def check_cgroups(_where: Paths) -> Finding:
    """Whether machines can get limits of their own; without, they run all the same."""
    support = find_support()
    if support.reason is None:
        return passed("cgroup v2 lets us set limits", detail=str(support.parent))
    return warned(
        f"machines run without limits of their own: {support.reason}",
        detail=str(support.parent or ""),
        hint="Nothing to do: sandboxes run without; a login through systemd usually gives limits",
    )


def check_open_files(_where: Paths) -> Finding:
    """Whether large shared folders fit below the limit of open files."""
    text = file_limit_warning()
    if text is None:
        return passed("the limit of open files is high enough for large workspaces")
    return warned(text, hint="Run: ulimit -Hn 1048576 (as root), or raise nofile in limits.conf")


def check_environment(_where: Paths) -> Finding:
    """Whether our own Python environment is as it was installed."""
    damaged = damaged_files()
    if not damaged:
        return passed("the Python environment is as it was installed")
    stamp = Path(sys.prefix) / "stamp"  # `bin/sbx` made the environment, and makes it again
    again = f"rm {stamp}" if stamp.exists() else "pip install --force-reinstall opensbx"
    return warned(
        f"files of the Python environment are not as they were installed: {len(damaged)}",
        detail=str(damaged[0]),
        hint=f"Run: {again}",
    )


def check_disk(where: Paths) -> Finding:
    """Free space where disks and caches are."""
    places = {_existing(where.state), _existing(where.cache)}
    free = {place: shutil.disk_usage(place).free for place in places}
    least = min(free, key=lambda place: free[place])
    text = f"{format_size(free[least])} free at `{least}`"
    if free[least] < FAIL_BELOW_BYTES:
        return failed(text, hint="Free some disk space, or run: sbx prune")
    if free[least] < WARN_BELOW_BYTES:
        return warned(text, hint="Free some disk space, or run: sbx prune")
    return passed(text)


def _existing(path: Path) -> Path:
    return next(folder for folder in (path, *path.parents) if folder.exists())
