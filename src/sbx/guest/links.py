# SPDX-License-Identifier: Apache-2.0
"""The two network links: management stays with the agent, the sandbox's goes into its namespace."""

from __future__ import annotations

import os
import socket

from .netlink import Routes
from .syscalls import CLONE_NEWNET, setns, unshare

_LOOPBACK_INDEX = 1


class Link:
    """What the host says about one link."""

    __slots__ = ("address", "gateway", "mac", "prefix_length")

    def __init__(self, *, mac: str, address: str, prefix_length: int, gateway: str | None) -> None:
        self.mac = mac
        self.address = address
        self.prefix_length = prefix_length
        self.gateway = gateway


def find_link(mac: str) -> str | None:
    """The name of the link with this hardware address in the caller's network namespace."""
    for name in os.listdir("/sys/class/net"):
        if read_text(f"/sys/class/net/{name}/address") == mac:
            return name
    return None


def set_up_management(link: Link, name: str) -> None:
    """Give the agent's own link its address."""
    routes = Routes()
    try:
        _set_up(routes, link, index=socket.if_nametoindex(name), rename="mgmt0")
        routes.bring_up(_LOOPBACK_INDEX)
    finally:
        routes.close()


def open_sandbox_network(link: Link, name: str) -> int:
    """Make the sandbox's network namespace, move its link there, and return the namespace.

    The caller's own namespace is left and entered again: with one thread nobody sees it.
    """
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    routes = Routes()
    try:
        unshare(CLONE_NEWNET)
        try:
            inside = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            setns(own, CLONE_NEWNET)
            routes.move(socket.if_nametoindex(name), namespace=inside, name="eth0")
            setns(inside, CLONE_NEWNET)
            _configure_inside(link)
        finally:
            setns(own, CLONE_NEWNET)
    finally:
        routes.close()
        os.close(own)
    return inside


def _configure_inside(link: Link) -> None:
    routes = Routes()
    try:
        routes.bring_up(_LOOPBACK_INDEX)
        _set_up(routes, link, index=socket.if_nametoindex("eth0"))
    finally:
        routes.close()
    # What container engines set too: any user may serve port 80 and send a ping.
    _write_setting("net/ipv4/ip_unprivileged_port_start", "0")
    _write_setting("net/ipv4/ping_group_range", "0 2147483647")


def _set_up(routes: Routes, link: Link, *, index: int, rename: str | None = None) -> None:
    # IPv6 does not leave the machine: without an address of that family programs do not try it.
    name = socket.if_indextoname(index)
    _write_setting(f"net/ipv6/conf/{name}/disable_ipv6", "1")
    routes.bring_up(index, name=rename if name != rename else None)
    routes.add_address(index, link.address, link.prefix_length)
    if link.gateway is not None:
        routes.add_default_route(index, link.gateway)


def _write_setting(name: str, value: str) -> None:
    try:
        with open(f"/proc/sys/{name}", "w") as file:
            file.write(value)
    except OSError:  # a kernel without it: nothing depends on it
        return


def read_text(path: str) -> str | None:
    """A short kernel file without its newline, or None."""
    try:
        with open(path) as file:
            return file.read(4096).strip()
    except OSError:
        return None
