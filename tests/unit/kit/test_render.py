# SPDX-License-Identifier: Apache-2.0
"""The document of `kit inspect`."""

from __future__ import annotations

import json

from sbx.kit.bundle import KitFile
from sbx.kit.render import document
from tests.unit.kit.kits import MIXIN, SANDBOX, kit

KEYS = {
    "manifest", "extends", "mixins", "locked", "licenses", "agentContext", "warnings", "requires",
    "publishedPorts", "caps", "credentials", "environment", "commands", "args", "files", "sources",
}  # fmt: skip
MANIFEST = {
    "schemaVersion", "kind", "name", "version", "displayName", "description", "sourceURL", "binary",
    "template", "aiFilename", "runOptions", "resources", "build", "security", "volumes",
}  # fmt: skip


def test_it_has_every_key_whatever_the_kit_has() -> None:
    for text in (MIXIN, SANDBOX):
        found = document(kit(text))
        assert set(found) == KEYS
        manifest = found["manifest"]
        assert isinstance(manifest, dict)
        assert set(manifest) == MANIFEST
        json.dumps(found)


def test_what_an_agent_gets() -> None:
    body = """
permissions: {network: {allow: [a.com], deny: [b.com]}}
environment: {variables: {A: b}}
ports: [{container: 80, protocol: tcp}]
setup: {install: [{command: x}]}
credentials: [{service: s, apiKey: {name: K, inject: [{domain: a.com, scheme: bearer}]}}]
"""
    found = document(kit(SANDBOX + body, {"files/home/a": KitFile(b"12", executable=True)}))
    assert found["caps"] == {"network": {"allow": ["a.com"], "deny": ["b.com"]}}
    assert found["environment"] == {"variables": {"A": "b"}}
    assert found["publishedPorts"] == [{"container": 80, "protocol": "tcp"}]
    assert found["commands"] == {"install": [{"command": "x", "user": "0"}]}
    assert found["credentials"] == [
        {
            "service": "s",
            "apiKey": {"name": "K", "inject": [{"domain": "a.com", "scheme": "bearer"}]},
        }
    ]
    assert found["files"] == [{"path": "files/home/a", "size": 2, "executable": True, "link": None}]
