# SPDX-License-Identifier: Apache-2.0
"""The model APIs of the test internet: they want the key, and the tools that were declared."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from tests.internet.client import Internet
from tests.internet.model.script import FINISHED, Make, Move

KEY = "sk-right"
RUN = Move(make=Make.RUN, command="echo hi")
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]}
CALLED = '{"command": "echo hi"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """One way to ask: where, with which header, and the bodies before and after the call."""

    url: str
    header: str
    tools: object
    first: Mapping[str, object]
    second: Mapping[str, object]


FUNCTION = {"name": "bash", "parameters": SCHEMA}
PROTOCOLS = {
    "messages": Protocol(
        url="https://api.anthropic.com/v1/messages",
        header="x-api-key: ",
        tools=[{"name": "Bash", "input_schema": SCHEMA}],
        first={"messages": [{"role": "user", "content": "go"}]},
        second={"messages": [{"content": [{"type": "tool_result", "content": "was done"}]}]},
    ),
    "responses": Protocol(
        url="https://api.openai.com/v1/responses",
        header="authorization: Bearer ",
        tools=[{"type": "function", **FUNCTION}],
        first={"input": []},
        second={"input": [{"type": "function_call_output", "output": "was done"}]},
    ),
    "chat": Protocol(
        url="https://api.openai.com/v1/chat/completions",
        header="authorization: Bearer ",
        tools=[{"type": "function", "function": FUNCTION}],
        first={"messages": []},
        second={"messages": [{"role": "tool", "content": "was done"}]},
    ),
    "copilot": Protocol(
        url="https://api.individual.githubcopilot.com/chat/completions",
        header="authorization: Bearer ",
        tools=[{"type": "function", "function": FUNCTION}],
        first={"messages": []},
        second={"messages": [{"role": "tool", "content": "was done"}]},
    ),
    "gemini": Protocol(
        url="https://generativelanguage.googleapis.com/v1beta/models/m:generateContent",
        header="x-goog-api-key: ",
        tools=[{"functionDeclarations": [FUNCTION]}],
        first={"contents": []},
        second={
            "contents": [{"parts": [{"functionResponse": {"response": {"output": "was done"}}}]}]
        },
    ),
}


def ask(internet: Internet, url: str, header: str, body: Mapping[str, object]) -> tuple[int, str]:
    """Status and body of an answer."""
    done = internet.run(
        "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", "-H", header, "-d", "@-", url,
        stdin=json.dumps(body).encode(),
    )  # fmt: skip
    text, _, status = done.stdout.decode().rpartition("\n")
    return int(status), text


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_key_counts_and_the_script_is_followed(internet: Internet, name: str) -> None:
    protocol = PROTOCOLS[name]
    internet.model(KEY, RUN)
    for wrong in ("proxy-managed", KEY[:-1]):
        status, text = ask(internet, protocol.url, protocol.header + wrong, protocol.first)
        assert (status, "invalid key" in text) == (401, True)
    right = protocol.header + KEY
    for stream in (False, True):
        url = protocol.url
        if name == "gemini" and stream:
            url = url.replace(":generate", ":streamGenerate")
        more = {"tools": protocol.tools, "stream": stream}
        status, text = ask(internet, url, right, {**protocol.first, **more})
        assert status == 200
        assert "echo hi" in text
        assert ("data: " in text) == stream
        status, text = ask(internet, url, right, {**protocol.second, **more})
        assert f"{FINISHED} was done" in text


def test_a_tool_that_is_not_there_is_an_error_in_words(internet: Internet) -> None:
    protocol = PROTOCOLS["messages"]
    internet.model(KEY, Move(make=Make.EDIT, path="a", old="b", new="c"))
    body = {**protocol.first, "tools": protocol.tools}
    status, text = ask(internet, protocol.url, protocol.header + KEY, body)
    assert status == 400
    assert "no tool to edit among ['Bash']" in text
    assert ask(internet, protocol.url, protocol.header + KEY, protocol.first)[0] == 200


def test_without_a_script_the_names_are_those_of_any_web_server(internet: Internet) -> None:
    internet.model("")
    status, text = ask(internet, "https://api.anthropic.com/echo", "x-api-key: k", {"a": 1})
    assert (status, '"a": 1' in json.loads(text)["body"]) == (200, True)
