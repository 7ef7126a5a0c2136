# SPDX-License-Identifier: Apache-2.0
"""Every kind of packet that moves in the namespace, whatever server it is for, or none.

This is the proof that nothing leaves a sandbox by a way that no server listens on.
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from ipaddress import IPv6Address

_ETH_P_ALL = 3  # linux/if_ether.h
_ICMP, _TCP, _UDP, _ICMP6 = 1, 6, 17, 58
_DNS_PORT = struct.pack("!H", 53)
_MAX_KINDS = 5000


class Sniffer:
    """Collects kinds of packets: protocol, destination, port; no answers of TCP and DNS."""

    def __init__(self) -> None:
        self.kinds: set[str] = set()
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
        self._sock.setblocking(False)

    def start(self, link: int) -> None:
        """Begin; what leaves by the link to nowhere has been noted, and is read and dropped."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._sock, self._read)
        loop.add_reader(link, os.read, link, 65536)

    def _read(self) -> None:
        try:
            while True:
                data, (_, protocol, *_rest) = self._sock.recvfrom(128)
                kind = describe(protocol, data)
                if kind is not None and len(self.kinds) < _MAX_KINDS:
                    self.kinds.add(kind)
        except BlockingIOError:
            return


def describe(protocol: int, data: bytes) -> str | None:
    """`tcp 192.0.2.1:80` for a packet; None for a part of a connection that was named before."""
    if protocol == 0x0800:
        address, number = socket.inet_ntoa(data[16:20]), data[9]
        payload = data[(data[0] & 15) * 4 :]
    elif protocol == 0x86DD:
        address, number = f"[{IPv6Address(data[24:40])}]", data[6]
        payload = data[40:]
    elif protocol == 0x0806:
        return f"arp {socket.inet_ntoa(data[24:28])}"
    else:
        return f"ether {protocol:04x}"
    if number == _TCP:
        is_new = len(payload) > 13 and payload[13] & 0x12 == 0x02  # SYN without ACK
        return f"tcp {address}:{_port(payload)}" if is_new else None
    if number == _UDP:
        is_answer = payload[:2] == _DNS_PORT  # from that port
        return None if is_answer else f"udp {address}:{_port(payload)}"
    if number in (_ICMP, _ICMP6):
        return f"icmp {address} type {payload[0]}"
    return f"ip-{number} {address}"


def _port(payload: bytes) -> int:
    found: int = struct.unpack("!H", payload[2:4])[0]
    return found
