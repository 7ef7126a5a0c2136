# SPDX-License-Identifier: Apache-2.0
"""The network helper: a small child that lives in the user and network namespace of one sandbox.

Run by path as `python -I -S helper.py FD LINK... -- LISTENER...`, one helper per running sandbox,
so it imports as little as it can and nothing of sbx: its resident memory counts. LINK is
`device,gateway,prefix-length,gateway-mac,guest,guest-mac`, LISTENER is `protocol,address,port`. It
speaks a few words of text over FD, a Unix SOCK_SEQPACKET socket:

    helper: `made`            namespaces and TAPs exist, links are down; the parent loads the rules
    parent: `up`
    helper: `taps` + fds      links are up, all capabilities are gone for good; one TAP per LINK,
                              then one listening (udp: bound) socket per LISTENER
    parent: `sockets N`
    helper: `sockets` + fds   N unconnected TCP sockets of this namespace
    parent: `datagrams N`
    helper: `datagrams` + fds the same, UDP
    helper: `error STEP|ERRNO|TEXT`, and its end

It ends when FD closes or its parent dies; the namespace goes with the last descriptor of it.
"""

from __future__ import annotations

import _socket as socket  # `socket` itself costs 1.3 MB more
import ctypes
import fcntl
import os
import struct
import sys

MAX_SOCKETS = 64
_KINDS = {b"sockets": socket.SOCK_STREAM, b"datagrams": socket.SOCK_DGRAM}
_BACKLOG = 256  # connections that wait until the supervisor takes them

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000  # sched.h; os.unshare comes with Python 3.12
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 1, 24, 38  # linux/prctl.h
_CAPABILITY_VERSION_3 = 0x20080522  # linux/capability.h
_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 0x0002, 0x1000, 0x4000
_SIOCSIFFLAGS, _SIOCGIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8913, 0x8916, 0x891C
_SIOCSIFHWADDR, _SIOCSARP = 0x8924, 0x8955
_IFF_UP, _ARPHRD_ETHER, _ATF_COM, _ATF_PERM = 0x1, 1, 0x02, 0x04
_SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


class StepError(Exception):
    """A step failed: its name, the error's number and text."""

    def __init__(self, step: str, number: int) -> None:
        super().__init__(f"{step}|{number}|{os.strerror(number)}")


class Link:
    """One TAP of the sandbox and the addresses at its two ends."""

    __slots__ = ("device", "gateway", "gateway_mac", "guest", "guest_mac", "prefix_length")

    def __init__(self, text: str) -> None:
        self.device, self.gateway, prefix, self.gateway_mac, self.guest, self.guest_mac = (
            text.split(",")
        )
        self.prefix_length = int(prefix)


def main(argv: list[str]) -> int:
    control = socket.socket(fileno=int(argv[1]))
    split = argv.index("--")
    links = [Link(text) for text in argv[2:split]]
    try:
        _die_with_parent()
        _enter_namespaces()
        _set_sysctls()
        inet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        taps = [_make_tap(link, inet) for link in links]
        control.send(b"made")
        if control.recv(16) != b"up":
            return 0
        for link in links:
            _bring_up(link, inet)
        inet.close()
        listeners = [_listen(text) for text in argv[split + 1 :]]
        _drop_privileges()
    except StepError as error:
        control.send(b"error " + str(error).encode())
        return 1
    _send(control, b"taps", taps + [sock.fileno() for sock in listeners])
    for tap in taps:  # from here on they live and die with the machine
        os.close(tap)
    for sock in listeners:  # and these with the supervisor
        sock.close()
    return _serve(control)


def _serve(control: socket.socket) -> int:
    while request := control.recv(64):
        word, _, count = request.partition(b" ")
        kind = _KINDS.get(word)
        if kind is None or not count.isdigit() or not 0 < int(count) <= MAX_SOCKETS:
            control.send(b"error request|22|unknown")
            return 1
        kind |= socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
        made = [socket.socket(socket.AF_INET, kind) for _ in range(int(count))]
        _send(control, word, [sock.fileno() for sock in made])
        for sock in made:
            sock.close()
    return 0


def _send(control: socket.socket, data: bytes, fds: list[int]) -> None:
    rights = struct.pack(f"{len(fds)}i", *fds)
    control.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])


def _die_with_parent() -> None:
    parent = os.getppid()
    _check("pdeathsig", _libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0))
    if parent != os.getppid() or parent == 1:  # it died before the kernel knew of our wish
        raise StepError("pdeathsig", 3)


def _enter_namespaces() -> None:
    uid, gid = os.geteuid(), os.getegid()
    _check("unshare", _libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET))
    _write(
        "user-map", "/proc/self/setgroups", "deny"
    )  # needed before an ordinary user may map a group
    _write("user-map", "/proc/self/uid_map", f"0 {uid} 1")
    _write("user-map", "/proc/self/gid_map", f"0 {gid} 1")


def _set_sysctls() -> None:
    """Nothing in here routes: a new namespace inherits `ip_forward` from the host, often 1."""
    _write("ip-forward", "/proc/sys/net/ipv4/ip_forward", "0")
    for scope in ("all", "default"):
        try:  # noqa: SIM105 - contextlib is not worth its memory here
            _write("ipv6", f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "1")
        except StepError:
            pass  # no IPv6, or a container's read-only /proc/sys: the rules drop it anyway


def _make_tap(link: Link, inet: socket.socket) -> int:
    try:
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise StepError("tun-open", error.errno or 0) from error
    flags = _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR
    _ioctl("tap", tap, _TUNSETIFF, struct.pack("16sH22x", link.device.encode(), flags))
    mac = bytes.fromhex(link.gateway_mac.replace(":", ""))
    hardware = struct.pack("16sH6s16x", link.device.encode(), _ARPHRD_ETHER, mac)
    _ioctl("mac", inet, _SIOCSIFHWADDR, hardware)
    return tap


def _bring_up(link: Link, inet: socket.socket) -> None:
    name = struct.pack("16s", link.device.encode())
    mask = (0xFFFFFFFF << (32 - link.prefix_length) & 0xFFFFFFFF).to_bytes(4, "big")
    _ioctl(
        "address", inet, _SIOCSIFADDR, name + _address(socket.inet_aton(link.gateway)) + bytes(8)
    )
    _ioctl("netmask", inet, _SIOCSIFNETMASK, name + _address(mask) + bytes(8))
    flags = struct.unpack_from("H", _ioctl("flags", inet, _SIOCGIFFLAGS, name + bytes(24)), 16)[0]
    _ioctl("flags", inet, _SIOCSIFFLAGS, name + struct.pack("H22x", flags | _IFF_UP))
    # A permanent neighbour: no ARP of the guest can move its address, and we never ask.
    guest_mac = bytes.fromhex(link.guest_mac.replace(":", ""))
    entry = _address(socket.inet_aton(link.guest)) + struct.pack("H14s", _ARPHRD_ETHER, guest_mac)
    _ioctl("neighbour", inet, _SIOCSARP, entry + struct.pack("i16x", _ATF_COM | _ATF_PERM) + name)


def _listen(text: str) -> socket.socket:
    """A socket at an address of ours; ports below 1024 take a capability that is soon gone."""
    protocol, address, port = text.split(",")
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        sock.bind((address, int(port)))
        if protocol == "tcp":
            sock.listen(_BACKLOG)
    except OSError as error:
        raise StepError("listen", error.errno or 0) from error
    return sock


def _drop_privileges() -> None:
    last = int(_read("/proc/sys/kernel/cap_last_cap"))
    for capability in range(last + 1):
        _check("capabilities", _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0))
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _check("capabilities", _libc.capset(header, bytes(24)))
    _check("no-new-privs", _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _address(raw: bytes) -> bytes:
    """A struct sockaddr_in, 16 bytes."""
    return struct.pack("HH4s8x", socket.AF_INET, 0, raw)


def _ioctl(step: str, target: int | socket.socket, request: int, argument: bytes) -> bytes:
    try:
        return fcntl.ioctl(target, request, argument)
    except OSError as error:
        raise StepError(step, error.errno or 0) from error


def _check(step: str, result: int) -> None:
    if result != 0:
        raise StepError(step, ctypes.get_errno())


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(fd, 64).decode()
    finally:
        os.close(fd)


def _write(step: str, path: str, text: str) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text.encode())
        finally:
            os.close(fd)
    except OSError as error:
        raise StepError(step, error.errno or 0) from error


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
