# SPDX-License-Identifier: Apache-2.0
"""What the verbs about ports share: the table, and what is said of a change."""

from __future__ import annotations

from collections.abc import Sequence

from sbx.cli import engine
from sbx.cli.app import App, Format
from sbx.cli.output import emit, note, out, table, talk
from sbx.cli.port_rows import bindings_of, port_row
from sbx.cli.progress import Steps
from sbx.sandbox.ports import PortBinding

_HEADERS = ("HOST IP", "HOST PORT", "SANDBOX PORT", "PROTOCOL")


def show(app: App, name: str) -> None:
    """List the published ports."""
    found = bindings_of(engine.status(app, name))
    if app.format is not Format.TABLE:
        emit(app, [port_row(binding) for binding in found], wrap="ports")
    elif found:
        rows = [
            [b.host_ip, str(b.host_port or "-"), str(b.sandbox_port), b.protocol.value]
            for b in found
        ]
        out(table(_HEADERS, rows))
    else:
        out("No published ports")


def change(app: App, name: str, publish: Sequence[str], unpublish: Sequence[str]) -> None:
    """Publish, which starts the sandbox, and take back; tell what came of it."""
    from sbx.lifecycle.ports import publish_ports, unpublish_ports
    from sbx.sandbox.port_spec import parse_publication, parse_selector

    wanted = [parse_publication(text) for text in publish]
    selectors = [parse_selector(text) for text in unpublish]
    name = engine.status(app, name).spec.name
    came: tuple[PortBinding, ...] = ()
    gone: tuple[PortBinding, ...] = ()
    if wanted:
        with Steps(quiet=False) as progress:
            engine.start(app, name, progress)
        came = publish_ports(app.paths, name, wanted)
    if selectors:
        gone = unpublish_ports(app.paths, name, selectors)
    if app.format is not Format.TABLE:
        rows = [port_row(binding, "published") for binding in came]
        emit(app, [*rows, *(port_row(binding, "unpublished") for binding in gone)], wrap="ports")
    for binding in came if app.format is Format.TABLE else ():
        out(f"Published {_arrow(binding)}")
    for binding in gone if app.format is Format.TABLE else ():
        out(f"Unpublished {_arrow(binding)}")
    if selectors:
        numbers = {selector.sandbox_port for selector in selectors}
        for left in bindings_of(engine.status(app, name)):
            if left.sandbox_port in numbers:
                note(f"still published: {_arrow(left)}")
    if came and not came[0].host_ip.startswith(("127.", "::1")):
        talk("These ports can be reached from other machines")


def _arrow(binding: PortBinding) -> str:
    return f"{binding.host} -> {binding.sandbox_port}/{binding.protocol}"
