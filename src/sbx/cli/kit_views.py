# SPDX-License-Identifier: Apache-2.0
"""How kits are shown to people: what an agent gets, section by section."""

from __future__ import annotations

from collections.abc import Iterator

from sbx.cli.output import clean
from sbx.kit.compose import Kit


def describe(kit: Kit) -> str:
    """The text of `kit inspect`."""
    lines: list[str] = []
    for title, rows in _sections(kit):
        found = [f"  {clean(row)}" for row in rows]
        if found:
            lines += [title, *found, ""]
    return "\n".join(lines).rstrip()


def _sections(kit: Kit) -> Iterator[tuple[str, list[str]]]:
    spec = kit.spec
    yield "KIT", _head(kit)
    yield "ARGUMENTS", [f"{name} = {text}" for name, text in kit.args.items()]
    yield "NETWORK", [f"allow  {h}" for h in spec.allow] + [f"deny   {h}" for h in spec.deny]
    yield "CREDENTIALS", list(_credentials(kit))
    yield "ENVIRONMENT", [f"{name}={text}" for name, text in spec.variables.items()]
    yield "INSTALL", [f"{step.user:<6} {step.command.strip()}" for step in spec.steps.install]
    yield "FILES", [f"{one.mode} {one.path}" for one in spec.steps.files] + sorted(kit.files)
    yield "STARTUP", [f"{step.user:<6} {' '.join(step.command)}" for step in spec.steps.startup]
    yield "PORTS", [f"{port.container}/{port.protocol or 'tcp'}" for port in spec.ports]
    yield "VOLUMES", [f"{one.path} {one.type or 'disk'}" for one in spec.volumes]
    yield "SOURCES", [f"{one.resolved}  {one.bundle.digest}" for one in kit.sources]


def _head(kit: Kit) -> list[str]:
    spec = kit.spec
    sandbox = spec.sandbox
    rows = [
        ("name", spec.name),
        ("kind", spec.kind.value),
        ("version", spec.version),
        ("description", spec.description),
        ("extends", spec.extends),
        ("requires", spec.requires.agent if spec.requires else None),
        ("template", sandbox.image if sandbox else None),
        ("command", " ".join(sandbox.entrypoint) if sandbox else None),
        ("tells", spec.agent_instructions.filename if spec.agent_instructions else None),
        ("licenses", ", ".join(spec.licenses or ())),
    ]
    return [f"{name:<12} {text}" for name, text in rows if text]


def _credentials(kit: Kit) -> Iterator[str]:
    for one in kit.spec.credentials:
        key = one.api_key
        variable = f" as {key.name}" if key and key.name else ""
        yield f"{one.service}{variable}"
        for inject in key.inject if key else ():
            yield f"  {inject.domain}  {inject.header_name}: {inject.value_format}"
        if one.oauth is not None:
            yield f"  tokens of {one.oauth.token_endpoint.host}{one.oauth.token_endpoint.path}"
