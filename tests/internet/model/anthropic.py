# SPDX-License-Identifier: Apache-2.0
"""Anthropic's Messages: https://docs.anthropic.com/en/api/messages, with streaming and tools."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from tests.internet.model.json_body import Body, each, text_of
from tests.internet.model.script import Call, Tool, Turn

_USAGE = {"input_tokens": 10, "output_tokens": 10}


def turn_of(body: Body) -> Turn:
    results = [
        text_of(block.get("content"))
        for message in each(body.get("messages"))
        for block in each(message.get("content"))
        if block.get("type") == "tool_result"
    ]
    tools = [
        Tool(name=str(tool["name"]), schema=tool["input_schema"])  # type: ignore[arg-type]
        for tool in each(body.get("tools"))
        if "input_schema" in tool  # others are of the server
    ]
    return Turn(tools=tools, results=results)


def answer(body: Body, said: Call | str) -> dict[str, object]:
    """The whole message."""
    return {
        **_head(body),
        "content": [_block(said)],
        "stop_reason": _reason(said),
        "usage": _USAGE,
    }


def events(body: Body, said: Call | str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The same, piece by piece."""
    message: Body = {**_head(body), "content": [], "stop_reason": None, "usage": _USAGE}
    yield "message_start", {"message": message}
    nothing: dict[str, object] = {"text": ""} if isinstance(said, str) else {"input": {}}
    empty = {**_block(said), **nothing}
    yield "content_block_start", {"index": 0, "content_block": empty}
    for piece in (said,) if isinstance(said, str) else _halves(said.as_json):
        delta = (
            {"type": "text_delta", "text": piece}
            if isinstance(said, str)
            else {"type": "input_json_delta", "partial_json": piece}
        )
        yield "content_block_delta", {"index": 0, "delta": delta}
    yield "content_block_stop", {"index": 0}
    end = {"stop_reason": _reason(said), "stop_sequence": None}
    yield "message_delta", {"delta": end, "usage": {"output_tokens": 10}}
    yield "message_stop", {}


def _head(body: Body) -> dict[str, object]:
    return {
        "id": "msg_test",
        "type": "message",
        "role": "assistant",
        "model": body.get("model"),
        "stop_sequence": None,
    }


def _block(said: Call | str) -> dict[str, object]:
    if isinstance(said, str):
        return {"type": "text", "text": said}
    return {
        "type": "tool_use",
        "id": f"toolu_{said.id}",
        "name": said.name,
        "input": said.arguments,
    }


def _reason(said: Call | str) -> str:
    return "end_turn" if isinstance(said, str) else "tool_use"


def _halves(text: str) -> Sequence[str]:
    half = len(text) // 2
    return (text[:half], text[half:])
