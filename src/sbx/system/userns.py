# SPDX-License-Identifier: Apache-2.0
"""Whether this host lets us make namespaces, TAPs and firewall rules, and how to change it if not.

Each `check_*` tries the real thing in a child that ends at once; the `explain_*` behind it only
reads, and is also what a failed start asks for its sentence. Every remedy is a command.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from sbx.errors import HostError
from sbx.system.process import run

_PROBE_TIMEOUT_S = 10
_SYSCTLS = Path("/proc/sys")
_TUN = Path("/dev/net/tun")
_PERSIST = "/etc/sysctl.d/60-opensbx.conf"
_ENTER = ("unshare", "--user", "--map-root-user", "--net")
# One chain of each kind that the network floor uses, and connection tracking.
_PROBE_RULES = """table netdev probe {
	chain frames { type filter hook ingress device "lo" priority filter; policy drop; }
}
table inet probe {
	chain input {
		type filter hook input priority filter; policy drop;
		ct state established accept
	}
}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The outcome of one check; `hint` is a command or an action, absent when all is well."""

    ok: bool
    message: str
    hint: str | None = None

    def demand(self, details: str | None = None) -> None:
        """Raise HostError with our words unless the check passed."""
        if not self.ok:
            raise HostError(self.message, hint=self.hint, details=details)


def check_user_namespaces() -> Verdict:
    """Make a user and network namespace, as the jail and the network helper do."""
    try:
        done = run([*_ENTER, "true"], timeout_s=_PROBE_TIMEOUT_S, check=False)
    except HostError as error:
        return Verdict(ok=False, message=error.message, hint="Run: sudo apt-get install util-linux")
    if done.returncode == 0:
        return Verdict(ok=True, message="user namespaces work")
    return explain_user_namespaces()


def explain_user_namespaces(sysctls: Path = _SYSCTLS) -> Verdict:
    """Why user namespaces were refused, from the kernel's switches."""
    if _number(sysctls / "kernel/unprivileged_userns_clone") == 0:
        return _forbidden("kernel.unprivileged_userns_clone", 0, wanted=1)
    if _number(sysctls / "user/max_user_namespaces") == 0:
        return _forbidden("user.max_user_namespaces", 0, wanted=15000)
    if _number(sysctls / "user/max_net_namespaces") == 0:
        return _forbidden("user.max_net_namespaces", 0, wanted=15000)
    if _number(sysctls / "kernel/apparmor_restrict_unprivileged_userns") == 1:
        return _forbidden("kernel.apparmor_restrict_unprivileged_userns", 1, wanted=0)
    if not (sysctls / "user/max_user_namespaces").exists():
        return Verdict(
            ok=False,
            message="this kernel is built without user namespaces",
            hint="Use a kernel with CONFIG_USER_NS, such as Debian's own",
        )
    return Verdict(
        ok=False,
        message="user namespaces are forbidden here, and no kernel switch says so",
        hint="In a container: start it with --privileged, or use the host; "
        "else wait until fewer namespaces are in use (user.max_user_namespaces)",
    )


def check_tun(device: Path = _TUN) -> Verdict:
    """Open the TAP device as the network helper does."""
    try:
        fd = os.open(device, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        return explain_tun(error.errno or 0, device)
    os.close(fd)
    if not stat.S_ISCHR(device.stat().st_mode):
        return Verdict(
            ok=False,
            message=f"not a device: `{device}`",
            hint=f"Run: sudo rm {device} && {_MODPROBE}",
        )
    return Verdict(ok=True, message=f"`{device}` can be opened")


_MODPROBE = "sudo modprobe tun"


def explain_tun(number: int, device: Path = _TUN) -> Verdict:
    """Why `device` could not be opened, from the error's number."""
    if number in (errno.EACCES, errno.EPERM):
        return Verdict(
            ok=False,
            message=f"no permission to open `{device}`",
            hint=f"Run: sudo chmod 0666 {device} (its usual mode; a udev rule keeps it: "
            '`KERNEL=="tun", MODE="0666"` in /etc/udev/rules.d/60-tun.rules)',
        )
    if number == errno.ENOENT:
        return Verdict(
            ok=False,
            message=f"no TAP device: `{device}`",
            hint=f"Run: {_MODPROBE}; in a container, start it with --device {device}",
        )
    if number in (errno.ENODEV, errno.ENXIO):
        return Verdict(
            ok=False,
            message=f"the kernel has no TAP driver behind `{device}`",
            hint=f"Run: {_MODPROBE}",
        )
    return Verdict(
        ok=False, message=f"cannot open `{device}`: {os.strerror(number)}", hint=f"Run: {_MODPROBE}"
    )


def check_nft() -> Verdict:
    """Load a small ruleset in a namespace of its own."""
    try:
        done = run(
            [*_ENTER, "nft", "-f", "-"],
            stdin=_PROBE_RULES.encode(),
            timeout_s=_PROBE_TIMEOUT_S,
            check=False,
        )
    except HostError as error:
        return Verdict(ok=False, message=error.message, hint="Run: sudo apt-get install util-linux")
    if done.returncode == 0:
        return Verdict(ok=True, message="nftables works in a namespace of its own")
    return explain_nft(done.stderr.decode(errors="replace"))


def explain_nft(stderr: str) -> Verdict:
    """Why the rules were refused, from the words of `nft` or of the program that started it."""
    if "No such file or directory" in stderr and "failed to execute" in stderr:
        return Verdict(
            ok=False, message="program not found: `nft`", hint="Run: sudo apt-get install nftables"
        )
    if "unshare failed" in stderr or "uid_map" in stderr:
        return explain_user_namespaces()
    return Verdict(
        ok=False,
        message="the kernel refused the firewall rules",
        hint="Run: sudo modprobe -a nf_tables nft_ct nf_conntrack",
    )


def _forbidden(name: str, value: int, *, wanted: int) -> Verdict:
    return Verdict(
        ok=False,
        message=f"user namespaces are forbidden by {name} = {value}",
        hint=f"Run: echo '{name} = {wanted}' | sudo tee -a {_PERSIST} "
        f"&& sudo sysctl --load {_PERSIST}",
    )


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
