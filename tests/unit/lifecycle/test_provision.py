# SPDX-License-Identifier: Apache-2.0
"""What a sandbox gets of its kits, as far as it can be said without one."""

from __future__ import annotations

from sbx.kit.args import NO_ARGS
from sbx.kit.compose import compose
from sbx.lifecycle.provision import publications_of
from sbx.sandbox.port_spec import parse_publication
from tests.unit.kit.kits import MIXIN, SANDBOX, kit

PORTS = "ports: [{container: 3000, name: web}, {container: 53, protocol: udp}]\n"


def test_ports_of_kits_are_any_free_one_on_loopback() -> None:
    extra = kit(MIXIN + "ports: [{container: 3000}, {container: 53, protocol: tcp}]\n")
    whole = compose(kit(SANDBOX + PORTS), [extra], NO_ARGS)
    found = publications_of(whole, ())
    assert [(one.host_ip, one.host_port) for one in found] == [("127.0.0.1", None)] * 3
    assert [(one.sandbox_port, one.protocol.value) for one in found] == [
        (3000, "tcp4"),
        (53, "udp4"),
        (53, "tcp4"),
    ]


def test_a_port_that_the_user_publishes_is_not_published_twice() -> None:
    whole = compose(kit(SANDBOX + PORTS), [], NO_ARGS)
    found = publications_of(whole, [parse_publication("8080:3000"), parse_publication("53/tcp")])
    assert [one.sandbox_port for one in found] == [53]
