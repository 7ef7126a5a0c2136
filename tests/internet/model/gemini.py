# SPDX-License-Identifier: Apache-2.0
"""Google's generateContent and streamGenerateContent: https://ai.google.dev/api/generate-content"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import cast

from tests.internet.model.json_body import Body, each, inner
from tests.internet.model.script import Call, Schema, Tool, Turn

_USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 10, "totalTokenCount": 20}


def turn_of(body: Body) -> Turn:
    results = [
        _text(inner(part["functionResponse"]))
        for content in each(body.get("contents"))
        for part in each(content.get("parts"))
        if "functionResponse" in part
    ]
    tools = [
        Tool(name=str(one["name"]), schema=_lower(one))
        for group in each(body.get("tools"))
        for one in each(group.get("functionDeclarations"))
    ]
    return Turn(tools=tools, results=results)


def answer(body: Body, said: Call | str) -> dict[str, object]:
    """One whole answer, which is also the only event of a stream."""
    if isinstance(said, str):
        part: dict[str, object] = {"text": _shaped(body, said)}
    else:
        part = {"functionCall": {"id": said.id, "name": said.name, "args": said.arguments}}
    content = {"role": "model", "parts": [part]}
    return {
        "candidates": [{"index": 0, "content": content, "finishReason": "STOP"}],
        "usageMetadata": _USAGE,
        "modelVersion": "test",
        "responseId": "test",
    }


def _shaped(body: Body, said: str) -> str:
    """What was asked for as JSON is JSON: each property has the first value that it may have."""
    wanted = inner(body.get("generationConfig"))
    schema = inner(wanted.get("responseJsonSchema") or wanted.get("responseSchema"))
    if not schema:
        return said
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    return json.dumps({name: _value(about) for name, about in properties.items()})


def _value(about: Schema) -> object:
    if values := cast("list[object]", about.get("enum", [])):
        return values[0]
    kinds: Mapping[str, object] = {"boolean": False, "number": 1, "integer": 1, "array": []}
    return kinds.get(str(about.get("type", "")).lower(), "text")


def _lower(declared: Body) -> Schema:
    return inner(declared.get("parametersJsonSchema") or declared.get("parameters"))


def _text(response: Body) -> str:
    output = inner(response.get("response"))
    return str(output.get("output", output.get("error", json.dumps(output))))
