# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames, as a guest would put them on its network card, and a guest's end of a TAP."""

from __future__ import annotations

import asyncio
import os
import struct
from dataclasses import dataclass
from socket import inet_aton, inet_ntoa

from sbx.sandbox import addresses

BROADCAST = "ff:ff:ff:ff:ff:ff"
ARP, IPV4, IPV6, VLAN = 0x0806, 0x0800, 0x86DD, 0x8100
ICMP, TCP, UDP = 1, 6, 17
SYN, RST, ACK = 0x02, 0x04, 0x10
_VNET_HEADER = bytes(10)  # struct virtio_net_hdr, before each frame of a TAP with IFF_VNET_HDR


def mac_bytes(mac: str) -> bytes:
    return bytes.fromhex(mac.replace(":", ""))


def ethernet(payload: bytes, *, source: str, target: str = BROADCAST, kind: int) -> bytes:
    return mac_bytes(target) + mac_bytes(source) + struct.pack("!H", kind) + payload


def arp(*, operation: int, sender: str, sender_mac: str, wanted: str) -> bytes:
    head = struct.pack("!HHBBH", 1, IPV4, 6, 4, operation)
    return head + mac_bytes(sender_mac) + inet_aton(sender) + bytes(6) + inet_aton(wanted)


def checksum(data: bytes) -> int:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data if len(data) % 2 == 0 else data + b"\0"))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return int(~total & 0xFFFF)


def ipv4(payload: bytes, *, protocol: int, source: str, target: str) -> bytes:
    def head(check: int) -> bytes:
        first = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, check)
        return first + inet_aton(source) + inet_aton(target)

    return head(checksum(head(0))) + payload


def ipv6(payload: bytes = b"", *, protocol: int = 58) -> bytes:
    everybody = bytes.fromhex("ff020000000000000000000000000001")
    own = bytes.fromhex("fe800000000000005054000000000001")
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 255) + own + everybody + payload


def udp(payload: bytes, *, source_port: int = 40000, port: int) -> bytes:
    return struct.pack("!HHHH", source_port, port, 8 + len(payload), 0) + payload


def icmp_echo() -> bytes:
    body = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
    return body[:2] + struct.pack("!H", checksum(body)) + body[4:]


def tcp(
    *,
    source: str,
    target: str,
    source_port: int = 40000,
    port: int,
    flags: int = SYN,
    sequence: int = 1,
    ack: int = 0,
) -> bytes:
    def head(check: int) -> bytes:
        numbers = (source_port, port, sequence, ack & 0xFFFFFFFF)
        return struct.pack("!HHIIBBHHH", *numbers, 5 << 4, flags, 1024, check, 0)

    pseudo = inet_aton(source) + inet_aton(target) + struct.pack("!BBH", 0, TCP, 20)
    return head(checksum(pseudo + head(0)))


@dataclass(frozen=True, slots=True)
class Segment:
    """A TCP segment over IPv4 without options."""

    source: str
    source_port: int
    flags: int
    sequence: int

    @classmethod
    def parse(cls, frame: bytes) -> Segment:
        """Read it out of a frame."""
        packet = frame[14:]
        assert (frame[12:14], packet[0], packet[9]) == (b"\x08\0", 0x45, TCP)
        port, _, sequence, _, _, flags = struct.unpack_from("!HHIIBB", packet, 20)
        return cls(inet_ntoa(packet[12:16]), port, flags, sequence)


class Guest:
    """Sends and receives frames on a TAP, in the place of a machine."""

    def __init__(self, tap: int, mac: str, address: str, gateway: str) -> None:
        self.tap, self.mac, self.address, self.gateway = tap, mac, address, gateway

    def send(self, payload: bytes, kind: int, *, source: str | None = None) -> None:
        os.write(self.tap, _VNET_HEADER + ethernet(payload, source=source or self.mac, kind=kind))

    def send_ip(self, payload: bytes, protocol: int, *, target: str, source: str = "") -> None:
        packet = ipv4(payload, protocol=protocol, source=source or self.address, target=target)
        own = self.gateway == addresses.GATEWAY
        next_hop = addresses.GATEWAY_MAC if own else addresses.MANAGEMENT_GATEWAY_MAC
        frame = ethernet(packet, source=self.mac, target=next_hop, kind=IPV4)
        os.write(self.tap, _VNET_HEADER + frame)

    def ask_for(self, wanted: str, *, sender: str | None = None) -> None:
        """An ARP request."""
        self.send(
            arp(operation=1, sender=sender or self.address, sender_mac=self.mac, wanted=wanted), ARP
        )

    def received(self) -> list[bytes]:
        """All frames that have come so far, without waiting."""
        frames: list[bytes] = []
        while True:
            try:
                frames.append(os.read(self.tap, 65536)[len(_VNET_HEADER) :])
            except BlockingIOError:
                return frames

    async def receive(self) -> bytes:
        """The next frame."""
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self.tap, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self.tap)
        return os.read(self.tap, 65536)[len(_VNET_HEADER) :]
