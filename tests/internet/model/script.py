# SPDX-License-Identifier: Apache-2.0
"""What the fake model does: a list of moves, each made with a tool that the agent has declared.

It is no more than a script, but it sees what a model sees: the tools with their schemas, and their
results. A move for which there is no tool, or whose tool wants something unknown, is a failure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import cast

Schema = Mapping[str, object]  # JSON Schema of a tool's arguments

FINISHED = "The script is at its end."


class Make(StrEnum):
    """A kind of move."""

    READ = "read"  # a file
    EDIT = "edit"  # put one text in place of another
    RUN = "run"  # a shell command


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One call of a tool."""

    make: Make
    path: str = ""
    old: str = ""
    new: str = ""
    command: str = ""

    def to_json(self) -> dict[str, str]:
        return {
            "make": self.make.value, "path": self.path, "old": self.old, "new": self.new,
            "command": self.command,
        }  # fmt: skip

    @classmethod
    def from_json(cls, data: Mapping[str, str]) -> Move:
        return cls(**{**data, "make": Make(data["make"])})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A tool that the agent offers; without a schema it takes a text."""

    name: str
    schema: Schema | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the agent sent, whatever its protocol."""

    tools: Sequence[Tool] = ()
    results: Sequence[str] = ()  # of the calls so far


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A tool that is to be called."""

    id: str
    name: str
    arguments: dict[str, object] = field(default_factory=dict[str, object])
    text: str | None = None  # instead of arguments

    @property
    def as_json(self) -> str:
        return json.dumps(self.arguments)


class ScriptError(Exception):
    """The agent does not offer what the script needs."""


def decide(moves: Sequence[Move], turn: Turn) -> Call | str:
    """The next call, or what the model says at its end: what the last one gave.

    An agent also asks for small things, a title for a conversation for instance, without tools.
    """
    if not turn.tools:
        return "A small answer"
    done = len(turn.results)
    if done >= len(moves):
        return f"{FINISHED} {turn.results[-1]}"
    return _call(moves[done], turn.tools, f"call_{done}")


# The names of tools for a move, the first one that there is; and of what they take.
_NAMES: Mapping[Make, Sequence[str]] = {
    Make.READ: ("Read", "read", "read_file", "view"),
    Make.EDIT: ("Edit", "edit", "replace", "apply_patch", "exec"),
    Make.RUN: ("Bash", "bash", "run_shell_command", "exec_command", "exec"),
}
_TAKES: Mapping[str, str] = {
    **dict.fromkeys(("path", "file_path", "filePath", "absolute_path"), "path"),
    **dict.fromkeys(("old_string", "oldString", "old_str"), "old"),
    **dict.fromkeys(("new_string", "newString", "new_str"), "new"),
    **dict.fromkeys(("command", "cmd"), "command"),
}
_SAYS = ("description", "instruction", "explanation")  # what it is for, in words


def _call(move: Move, tools: Sequence[Tool], id_: str) -> Call:
    offered = {tool.name: tool for tool in tools}
    for name in _NAMES[move.make]:
        if (tool := offered.get(name)) is not None:
            if tool.schema is None:
                text = _program(move) if name == "exec" else _patch(move)
                return Call(id=id_, name=name, text=text)
            return Call(id=id_, name=name, arguments=_arguments(move, tool.schema))
    if move.make is Make.READ:  # an agent that reads with its shell
        return _call(Move(make=Make.RUN, command=f"cat {move.path}"), tools, id_)
    raise ScriptError(f"no tool to {move.make} among {sorted(offered)}")


def _arguments(move: Move, schema: Schema) -> dict[str, object]:
    properties = cast("Mapping[str, Schema]", schema.get("properties", {}))
    found: dict[str, object] = {}
    for name, about in properties.items():
        if (takes := _TAKES.get(name)) is not None:
            text: str = getattr(move, takes)
            found[name] = ["bash", "-lc", text] if about.get("type") == "array" else text
        elif name in _SAYS:
            found[name] = f"Step of the test: {move.make}"
    if missing := set(cast("Sequence[str]", schema.get("required", ()))) - set(found):
        raise ScriptError(f"a tool wants {sorted(missing)} of {sorted(properties)}")
    return found


def _patch(move: Move) -> str:
    """An edit in the form that `apply_patch` takes; single lines only."""
    lines = ["*** Begin Patch", f"*** Update File: {move.path}", "@@", f"-{move.old}"]
    return "\n".join([*lines, f"+{move.new}", "*** End Patch"]) + "\n"


def _program(move: Move) -> str:
    """The move for Codex's `exec`, a tool that takes JavaScript in which others are functions."""
    if move.make is Make.EDIT:
        return f"text(await tools.apply_patch({json.dumps(_patch(move))}))"
    given = json.dumps({"cmd": move.command})
    return f"text((await tools.exec_command({given})).output)"
