# SPDX-License-Identifier: Apache-2.0
"""What `kit inspect` shows: a kit with what it extends, normalised, as one JSON document."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from enum import StrEnum
from typing import Any, cast

from sbx.kit.compose import Kit
from sbx.kit.model import Spec
from sbx.kit.shapes import members
from sbx.system.codec import Json


def document(kit: Kit) -> dict[str, Json]:
    """The document; keys are those of spec.yaml where it has them."""
    spec = kit.spec
    instructions = spec.agent_instructions
    return {
        "manifest": _manifest(spec),
        "extends": spec.extends,
        "mixins": list(spec.mixins),
        "locked": list(spec.locked),
        "licenses": list(spec.licenses or ()),
        "agentContext": instructions.content if instructions else None,
        "warnings": [str(one) for one in kit.warnings],
        "requires": plain(spec.requires),
        "publishedPorts": plain(spec.ports),
        "caps": {"network": {"allow": list(spec.allow), "deny": list(spec.deny)}},
        "credentials": plain(spec.credentials),
        "environment": {"variables": dict(spec.variables)},
        "commands": plain(spec.steps),
        "args": dict(kit.args),
        "files": [_file(name, kit) for name in sorted(kit.files)],
        "sources": [
            {"ref": one.ref, "resolved": one.resolved, "digest": one.bundle.digest}
            for one in kit.sources
        ],
    }


def _manifest(spec: Spec) -> dict[str, Json]:
    sandbox = spec.sandbox
    instructions = spec.agent_instructions
    command = sandbox.command if sandbox else None
    return {
        "schemaVersion": spec.schema_version,
        "kind": spec.kind.value,
        "name": spec.name,
        "version": spec.version,
        "displayName": spec.display_name,
        "description": spec.description,
        "sourceURL": spec.source_url,
        "binary": sandbox.entrypoint[0] if sandbox and sandbox.entrypoint else None,
        "template": sandbox.image if sandbox else None,
        "aiFilename": instructions.filename if instructions else None,
        "runOptions": {
            "entrypoint": list(sandbox.entrypoint) if sandbox else [],
            "command": list(command.default) if command else [],
            "interactive": list(command.interactive) if command else [],
        },
        "resources": plain(sandbox.resources) if sandbox else None,
        "build": plain(sandbox.build) if sandbox else None,
        "security": plain(spec.security),
        "volumes": plain(spec.volumes),
    }


def _file(name: str, kit: Kit) -> dict[str, Json]:
    file = kit.files[name]
    return {
        "path": name,
        "size": len(file.data),
        "executable": file.executable,
        "link": file.link,
    }


def plain(value: Any) -> Json:
    """A part of a spec with the keys of spec.yaml; what was not given is left out."""
    if is_dataclass(value) and not isinstance(value, type):
        keys = {member.name: member.key for member in members(type(value))}
        found = {keys[f.name]: plain(getattr(value, f.name)) for f in fields(value)}
        return {key: inner for key, inner in found.items() if inner not in (None, [], {})}
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [plain(item) for item in cast("tuple[object, ...]", value)]
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in cast("dict[object, object]", value).items()}
    return cast("Json", value)
