# SPDX-License-Identifier: Apache-2.0
"""Netlink: links, addresses and routes (rtnetlink(7)), and the kernel's word that hardware came.

Own code because it is small: starting `ip` costs more than everything here together.
"""

from __future__ import annotations

import os
import socket
import struct

_UEVENT_PROTOCOL = 15  # NETLINK_KOBJECT_UEVENT
_NLMSG_ERROR = 2
_RTM_NEWLINK, _RTM_NEWADDR, _RTM_NEWROUTE = 16, 20, 24
_REQUEST, _ACK, _REPLACE, _CREATE = 0x1, 0x4, 0x100, 0x400
_IFLA_IFNAME, _IFLA_NET_NS_FD = 3, 28
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_RTA_OIF, _RTA_GATEWAY = 4, 5
_IFF_UP = 1
_HEADER = struct.Struct("=IHHII")


class Routes:
    """Changes the links of the network namespace in which it was made."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._sequence = 0

    def close(self) -> None:
        self._socket.close()

    def bring_up(self, index: int, *, name: str | None = None) -> None:
        """Rename a link (which must be down) if `name` is given, and switch it on."""
        if name is not None:
            self._change_link(index, 0, _attr(_IFLA_IFNAME, name.encode() + b"\0"))
        self._change_link(index, _IFF_UP, b"")

    def move(self, index: int, *, namespace: int, name: str) -> None:
        """Put a link into another network namespace under `name`."""
        attrs = _attr(_IFLA_NET_NS_FD, struct.pack("=I", namespace))
        self._change_link(index, 0, attrs + _attr(_IFLA_IFNAME, name.encode() + b"\0"))

    def add_address(self, index: int, address: str, prefix_length: int) -> None:
        packed = socket.inet_aton(address)
        body = struct.pack("=BBBBI", socket.AF_INET, prefix_length, 0, 0, index)
        body += _attr(_IFA_LOCAL, packed) + _attr(_IFA_ADDRESS, packed)
        self._ask(_RTM_NEWADDR, _CREATE | _REPLACE, body)

    def add_default_route(self, index: int, gateway: str) -> None:
        main_table, static, universe, unicast = 254, 4, 0, 1
        body = struct.pack(
            "=BBBBBBBBI", socket.AF_INET, 0, 0, 0, main_table, static, universe, unicast, 0
        )
        body += _attr(_RTA_GATEWAY, socket.inet_aton(gateway))
        body += _attr(_RTA_OIF, struct.pack("=I", index))
        self._ask(_RTM_NEWROUTE, _CREATE | _REPLACE, body)

    def _change_link(self, index: int, up: int, attrs: bytes) -> None:
        body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, up, up)
        self._ask(_RTM_NEWLINK, 0, body + attrs)

    def _ask(self, kind: int, flags: int, body: bytes) -> None:
        self._sequence += 1
        length = _HEADER.size + len(body)
        header = _HEADER.pack(length, kind, flags | _REQUEST | _ACK, self._sequence, 0)
        self._socket.sendto(header + body, (0, 0))
        answer = self._socket.recv(65536)
        (found,) = struct.unpack_from("=H", answer, 4)
        (code,) = struct.unpack_from("=i", answer, _HEADER.size)
        if found != _NLMSG_ERROR or code != 0:
            raise OSError(-code, f"rtnetlink request {kind}: {os.strerror(-code)}")


def _attr(kind: int, value: bytes) -> bytes:
    padding = b"\0" * (-len(value) % 4)
    return struct.pack("=HH", 4 + len(value), kind) + value + padding


class Uevents:
    """Becomes readable when the kernel adds or removes a device. What came is found in /sys."""

    def __init__(self) -> None:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _UEVENT_PROTOCOL)
        self._socket.bind((0, 1))  # pid chosen by the kernel, multicast group 1: the kernel's own

    def fileno(self) -> int:
        return self._socket.fileno()

    def close(self) -> None:
        self._socket.close()

    def drain(self) -> None:
        """Forget what is queued: the caller looks at /sys next."""
        try:
            while True:
                self._socket.recv(16384)
        except BlockingIOError:
            return
        except OSError:  # ENOBUFS: some were lost, and the look at /sys makes up for it
            return
