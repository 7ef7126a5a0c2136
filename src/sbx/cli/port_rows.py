# SPDX-License-Identifier: Apache-2.0
"""Published ports as `ls`, `inspect` and the verbs about ports show them."""

from __future__ import annotations

from sbx.cli.output import Json
from sbx.sandbox.ports import PortBinding
from sbx.sandbox.state import State
from sbx.sandbox.status import SandboxStatus


def active_ports(one: SandboxStatus) -> tuple[PortBinding, ...]:
    """The published ports that lead to the sandbox now."""
    return one.live.ports if one.live is not None and one.state is State.RUNNING else ()


def bindings_of(one: SandboxStatus) -> tuple[PortBinding, ...]:
    """The published ports: as they are, or for a stopped sandbox as they will be."""
    if one.state is State.RUNNING:
        return active_ports(one)
    from sbx.lifecycle.ports import stopped_bindings

    return stopped_bindings(one.record.published)


def port_row(binding: PortBinding, action: str | None = None) -> dict[str, Json]:
    """A published port as JSON has it; host port 0 is chosen at the start."""
    row: dict[str, Json] = {
        "host_ip": binding.host_ip,
        "host_port": binding.host_port,
        "sandbox_port": binding.sandbox_port,
        "protocol": binding.protocol.value,
    }
    return row if action is None else {"action": action, **row}
