# SPDX-License-Identifier: Apache-2.0
"""Every way out that root in a guest can try with Python alone; prints those that led somewhere.

`probe.py JSON`, with `hosts` (addresses that must stay out of reach) and `resolvers`. It runs in a
guest, handed over standard input, so it imports nothing but the standard library. A label in the
output is a failure of the sandbox; `sent` counts frames, so that a probe that sends none is seen.
"""

import contextlib
import json
import socket
import ssl
import struct
import sys
import threading
from collections.abc import Callable
from functools import partial

GATEWAY, GUEST = "192.168.127.1", "192.168.127.2"
PATIENCE_S = 3
TCP_PORTS = (7, 22, 53, 80, 443, 853, 2525, 3000, 7070, 8080)
UDP_PORTS = (53, 123, 443, 5353)
QUESTION = b"\x12\x34\x01\0\0\1" + bytes(6) + b"\4site\4test\0\0\1\0\1"
HTTP = b"GET /echo HTTP/1.1\r\nHost: site.test\r\nConnection: close\r\n\r\n"


def said(host: str, port: int, data: bytes) -> bytes:
    """What a TCP server answers."""
    with socket.create_connection((host, port), PATIENCE_S) as sock:
        sock.sendall(data)
        return sock.recv(4096)


def tcp(host: str, port: int) -> bool:
    """Does a server, and not the proxy, answer? Ours says 403 to HTTP, and nothing to the rest."""
    if port == 53:
        return said(host, port, struct.pack("!H", len(QUESTION)) + QUESTION) != b""
    if port in (443, 853):
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.create_connection((host, port), PATIENCE_S) as sock:
            context.wrap_socket(sock, server_hostname="site.test").close()
        return True
    answer = said(host, port, b"\0hello" if port in (7, 22, 2525, 7070) else HTTP)
    return answer != b"" and not answer.startswith(b"HTTP/1.1 403 ")


def udp(host: str, port: int) -> bool:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_S)
        sock.sendto(QUESTION, (host, port))
        return bool(sock.recv(4096))


def icmp(host: str) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(PATIENCE_S)
        sock.sendto(struct.pack("!BBHHH", 8, 0, 0xF7FE, 1, 0), (host, 0))
        while sock.recvfrom(512)[1][0] != host:
            pass
    return True


def checksum(data: bytes) -> bytes:
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack("!H", ~total & 0xFFFF)


def ip_packet(source: str, destination: str, protocol: int, payload: bytes) -> bytes:
    head = struct.pack("!BBHHHBB", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol)
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    return head + checksum(head + b"\0\0" + ends) + ends + payload


def frames(own: bytes, gateway: bytes, hosts: list[str]) -> list[bytes]:
    """Frames that no ordinary socket sends."""
    found: list[bytes] = []
    datagram = struct.pack("!HHHH", 4444, 53, 8 + len(QUESTION), 0) + QUESTION
    syn = struct.pack("!HHIIBBHHH", 4444, 80, 1, 0, 0x50, 2, 65535, 0, 0)
    for host in hosts:
        for source in (GUEST, GATEWAY, "127.0.0.1", "192.168.126.1", host):
            for protocol, payload in ((17, datagram), (6, syn), (1, b"\x08\0\xf7\xfe\0\1\0\0")):
                packet = ip_packet(source, host, protocol, payload)
                for mac in (own, gateway, b"\2\1\2\3\4\5"):
                    found.append(gateway + mac + b"\x08\0" + packet)
                found.append(gateway + own + b"\x81\0\0\1\x08\0" + packet)  # VLAN 1
                found.append(b"\xff" * 6 + own + b"\x08\0" + packet)
    six = struct.pack("!IHBB", 6 << 28, len(datagram), 17, 64)
    ends = socket.inet_pton(socket.AF_INET6, "fe80::2") + socket.inet_pton(
        socket.AF_INET6, "2620:4f:8000::80"
    )
    found.append(gateway + own + b"\x86\xdd" + six + ends + datagram)
    found.append(gateway + own + b"\x88\xcc" + b"lldp" * 12)
    for spoofed in (GATEWAY, "192.168.126.1", hosts[0]):  # "that address is at mine"
        arp = struct.pack("!HHBBH", 1, 0x800, 6, 4, 2) + own + socket.inet_aton(spoofed)
        arp += gateway + socket.inet_aton(GATEWAY)
        found += [mac + own + b"\x08\x06" + arp for mac in (gateway, b"\xff" * 6)]
    return found


def send_frames(hosts: list[str]) -> int:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as sock:
        sock.bind(("eth0", 0))
        own = sock.getsockname()[4]
        gateway = bytes.fromhex("5254007362f2")
        made = frames(own, gateway, hosts)
        for frame in made:
            sock.send(frame)
    return len(made)


def main() -> None:
    given = json.loads(sys.argv[1])
    answers: list[str] = []
    tasks: list[threading.Thread] = []

    def attempt(label: str, act: Callable[[], bool]) -> None:
        def run() -> None:
            with contextlib.suppress(OSError):
                if act():
                    answers.append(label)

        tasks.append(threading.Thread(target=run))

    for host in (*given["hosts"], *given["resolvers"]):
        for port in TCP_PORTS:
            attempt(f"tcp {host} {port}", partial(tcp, host, port))
        for port in UDP_PORTS:
            attempt(f"udp {host} {port}", partial(udp, host, port))
        attempt(f"icmp {host}", partial(icmp, host))
    attempt("icmp gateway", partial(icmp, GATEWAY))
    attempt("mdns", partial(udp, "224.0.0.251", 5353))
    attempt("mdns6", partial(udp, "ff02::fb%eth0", 5353))
    attempt("tcp6", partial(tcp, "2620:4f:8000::80", 80))
    for task in tasks:
        task.start()
    sent = send_frames(given["hosts"])
    for task in tasks:
        task.join()
    sys.stdout.write(json.dumps({"answers": answers, "attempts": len(tasks), "sent": sent}))


main()
