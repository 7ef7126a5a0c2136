# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of spec.yaml for editors, made from the types that the decoder reads."""

from __future__ import annotations

import types
from dataclasses import is_dataclass
from enum import EnumType, StrEnum
from typing import Any, Union, cast, get_args, get_origin

from sbx.kit.model import Spec
from sbx.kit.shapes import Free, JsonSchema, Member, members, shorthand

_PLAIN: dict[object, JsonSchema] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
}


def spec_schema() -> JsonSchema:
    """The schema of a whole spec.yaml, JSON Schema 2020-12."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "spec.yaml of a sandbox kit, schemaVersion 2",
        **_table(Spec),
    }


def _table(kind: type[Any]) -> JsonSchema:
    known = members(kind)
    whole: JsonSchema = {
        "type": "object",
        "properties": {member.key: _member(member) for member in known},
        "additionalProperties": False,
    }
    if required := [member.key for member in known if member.required]:
        whole["required"] = required
    short = shorthand(kind)
    if short is None:
        return whole
    own = next(member for member in known if member.name == short)
    return {"anyOf": [_member(own), whole]}


def _member(member: Member) -> JsonSchema:
    found: JsonSchema = {} if member.note(Free) else dict(_type(member.type))
    for check in member.checks:
        found |= check.schema()
    if member.doc:
        found["description"] = member.doc
    return found


def _type(kind: Any) -> JsonSchema:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        (kind,) = (arg for arg in get_args(kind) if arg is not types.NoneType)
        origin = get_origin(kind)
    if origin is tuple:
        return {"type": "array", "items": _type(get_args(kind)[0])}
    if origin is dict:
        return {"type": "object", "additionalProperties": _type(get_args(kind)[1])}
    if isinstance(kind, EnumType):
        return {"type": "string", "enum": [str(item) for item in cast("type[StrEnum]", kind)]}
    if is_dataclass(kind):
        return _table(cast("type[Any]", kind))
    return _PLAIN[kind]
