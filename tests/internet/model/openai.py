# SPDX-License-Identifier: Apache-2.0
"""OpenAI's Responses and Chat Completions, with streaming and tools.

https://platform.openai.com/docs/api-reference/responses-streaming
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tests.internet.model.json_body import Body, each, inner, text_of
from tests.internet.model.script import Call, Tool, Turn

_USAGE = {"input_tokens": 10, "output_tokens": 10, "total_tokens": 20}
_CHAT_USAGE = {"prompt_tokens": 10, "completion_tokens": 10, "total_tokens": 20}
_OUTPUTS = ("function_call_output", "custom_tool_call_output")


def responses_turn(body: Body) -> Turn:
    items = each(body.get("input"))
    results = [text_of(item.get("output")) for item in items if item.get("type") in _OUTPUTS]
    later = (tool for item in items for tool in each(item.get("tools")))  # Codex's additional ones
    return Turn(tools=[*_tools([*each(body.get("tools")), *later])], results=results)


def _tools(declared: Iterable[Body]) -> Iterator[Tool]:
    for tool in declared:
        match tool.get("type"):
            case "function":
                yield Tool(name=str(tool["name"]), schema=inner(tool.get("parameters")))
            case "custom":
                yield Tool(name=str(tool["name"]))
            case "namespace":
                yield from _tools(each(tool.get("tools")))
            case _:
                pass  # of the server itself


def responses_answer(body: Body, said: Call | str) -> dict[str, object]:
    """The whole response."""
    return {
        "id": "resp_test",
        "object": "response",
        "created_at": 1_700_000_000,
        "status": "completed",
        "model": body.get("model"),
        "output": [_item(said)],
        "usage": _USAGE,
    }


def responses_events(body: Body, said: Call | str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """The same, piece by piece."""
    whole = responses_answer(body, said)
    begun: Body = {**whole, "status": "in_progress", "output": [], "usage": None}
    yield "response.created", {"response": begun}
    item = _item(said)
    at = {"item_id": item["id"], "output_index": 0}
    yield "response.output_item.added", {"output_index": 0, "item": {**item, **_empty(said)}}
    if isinstance(said, str):
        part: Body = {"type": "output_text", "text": "", "annotations": []}
        yield "response.content_part.added", {**at, "content_index": 0, "part": part}
        yield "response.output_text.delta", {**at, "content_index": 0, "delta": said}
        yield "response.output_text.done", {**at, "content_index": 0, "text": said}
        done: Body = {**part, "text": said}
        yield "response.content_part.done", {**at, "content_index": 0, "part": done}
    elif said.text is None:
        yield "response.function_call_arguments.delta", {**at, "delta": said.as_json}
        yield "response.function_call_arguments.done", {**at, "arguments": said.as_json}
    yield "response.output_item.done", {"output_index": 0, "item": item}
    yield "response.completed", {"response": whole}


def _item(said: Call | str) -> dict[str, object]:
    if isinstance(said, str):
        content: list[Body] = [{"type": "output_text", "text": said, "annotations": []}]
        about: dict[str, object] = {
            "type": "message",
            "id": "msg_test",
            "role": "assistant",
            "content": content,
        }
        return {**about, "status": "completed"}
    kind = "function_call" if said.text is None else "custom_tool_call"
    given = {"arguments": said.as_json} if said.text is None else {"input": said.text}
    call = {"type": kind, "id": f"fc_{said.id}", "call_id": said.id, "name": said.name}
    return {**call, **given, "status": "completed"}


def _empty(said: Call | str) -> dict[str, object]:
    if isinstance(said, str):
        return {"content": [], "status": "in_progress"}
    return {"arguments" if said.text is None else "input": "", "status": "in_progress"}


def chat_turn(body: Body) -> Turn:
    messages = each(body.get("messages"))
    results = [text_of(one.get("content")) for one in messages if one.get("role") == "tool"]
    functions = [inner(tool.get("function")) for tool in each(body.get("tools"))]
    tools = [Tool(name=str(one["name"]), schema=inner(one.get("parameters"))) for one in functions]
    return Turn(tools=tools, results=results)


def chat_answer(body: Body, said: Call | str) -> dict[str, object]:
    """The whole completion."""
    choice = {"index": 0, "message": _message(said), "finish_reason": _reason(said)}
    return {**_completion(body, ""), "choices": [choice], "usage": _CHAT_USAGE}


def chat_events(body: Body, said: Call | str) -> Iterator[Mapping[str, object]]:
    """The same, piece by piece."""
    head = _completion(body, ".chunk")
    for delta, reason in ((_message(said), None), ({}, _reason(said))):
        yield {**head, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    yield {**head, "choices": [], "usage": _CHAT_USAGE}


def _completion(body: Body, suffix: str) -> dict[str, object]:
    return {
        "id": "chatcmpl-test",
        "object": f"chat.completion{suffix}",
        "created": 1_700_000_000,
        "model": body.get("model"),
    }


def _message(said: Call | str) -> dict[str, object]:
    if isinstance(said, str):
        return {"role": "assistant", "content": said}
    function = {"name": said.name, "arguments": said.as_json}
    call = {"index": 0, "id": said.id, "type": "function", "function": function}
    return {"role": "assistant", "content": None, "tool_calls": [call]}


def _reason(said: Call | str) -> str:
    return "stop" if isinstance(said, str) else "tool_calls"
