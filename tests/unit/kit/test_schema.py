# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema says what the decoder takes."""

from __future__ import annotations

import json
import re
from typing import Any, cast

import pytest
import yaml

from sbx.kit import builtin
from sbx.kit.model import Kind
from sbx.kit.schema import spec_schema
from sbx.kit.starter import starter
from tests.unit.kit.kits import MIXIN, problems

SCHEMA: dict[str, Any] = json.loads(json.dumps(spec_schema()))


def fits(schema: dict[str, Any], value: Any) -> bool:
    """As much of JSON Schema as ours uses."""
    if "anyOf" in schema:
        return any(fits(one, value) for one in schema["anyOf"])
    return _fits_alone(schema, value) and _fits_inside(schema, value)


def _fits_alone(schema: dict[str, Any], value: Any) -> bool:
    types = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
    if "type" in schema and type(value) is not types[schema["type"]]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "pattern" in schema and not re.search(schema["pattern"], str(cast("object", value))):
        return False
    return "minimum" not in schema or schema["minimum"] <= value <= schema["maximum"]


def _fits_inside(schema: dict[str, Any], value: Any) -> bool:
    if isinstance(value, list):
        items = cast("list[object]", value)
        return all(fits(schema.get("items", {}), item) for item in items)
    if not isinstance(value, dict):
        return True
    entries = cast("dict[str, Any]", value)
    if "properties" in schema:
        known = schema["properties"]
        complete = set(schema.get("required", ())) <= set(entries) <= set(known)
        return complete and all(fits(known[key], item) for key, item in entries.items())
    inner, names = schema.get("additionalProperties", {}), schema.get("propertyNames", {})
    return all(fits(names, key) and fits(inner, item) for key, item in entries.items())


@pytest.mark.parametrize("name", builtin.NAMES)
def test_built_in_agents_fit(name: str) -> None:
    text = (builtin.folder(name) / "spec.yaml").read_text()
    assert fits(SCHEMA, yaml.safe_load(text))


@pytest.mark.parametrize("kind", list(Kind))
def test_starters_fit(kind: Kind) -> None:
    assert fits(SCHEMA, yaml.safe_load(starter(kind, "own")))


@pytest.mark.parametrize(
    "body",
    [
        "unknown: 1\n", "ports: [{container: 0}]\n", "ports: [{}]\n", "kind: other\n",
        "setup: {install: [{command: [a]}]}\n", "environment: {variables: {A-B: x}}\n",
        "volumes: [{path: a}]\n", "requires: {agent: A}\n",
    ],
)  # fmt: skip
def test_what_the_decoder_refuses_the_schema_refuses(body: str) -> None:
    head = MIXIN if not body.startswith("kind") else MIXIN.replace("kind: mixin\n", "")
    assert problems(head, body)
    assert not fits(SCHEMA, yaml.safe_load(head + body))


def test_every_key_is_explained() -> None:
    missing: list[str] = []

    def look(schema: dict[str, Any], path: str) -> None:
        for key, inner in schema.get("properties", {}).items():
            if "description" not in inner:
                missing.append(f"{path}.{key}")
            look(inner, f"{path}.{key}")
        below: list[Any] = [schema.get("items"), schema.get("additionalProperties")]
        for inner in (*below, *schema.get("anyOf", ())):
            if isinstance(inner, dict):
                look(cast("dict[str, Any]", inner), path)

    look(SCHEMA, "")
    assert missing == []
