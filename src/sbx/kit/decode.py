# SPDX-License-Identifier: Apache-2.0
"""A tree of YAML nodes to typed values, with every mistake reported at its place.

Unknown keys are errors that name the nearest valid one. Where a value is missing or wrong,
something empty stands in for it and decoding goes on, so that one run tells everything: what was
decoded counts only if no error was found.
"""

from __future__ import annotations

import types
from dataclasses import dataclass, field, is_dataclass
from difflib import get_close_matches
from enum import EnumType, StrEnum
from typing import Any, TypeVar, Union, cast, get_args, get_origin

from sbx.kit.findings import Findings, Mark
from sbx.kit.nodes import Items, Node, Scalar, Table
from sbx.kit.shapes import Free, Member, members, shorthand
from sbx.system.codec import Json

T = TypeVar("T")


@dataclass(slots=True)
class Decoder:
    """Decodes one document; `marks` tells later where each dotted path stands."""

    findings: Findings
    marks: dict[str, Mark] = field(default_factory=dict[str, Mark])

    def decode(self, kind: type[T], node: Node) -> T:
        """The typed value; look at the findings before it is used."""
        return cast("T", self._value(kind, node, "", ()))

    def mark(self, path: str) -> Mark:
        """Where a path stands, or the nearest thing above it."""
        while path and path not in self.marks:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return self.marks.get(path, Mark())

    def _value(self, kind: Any, node: Node, path: str, notes: tuple[object, ...]) -> object:
        self.marks[path] = node.mark
        if any(isinstance(note, Free) for note in notes):
            return _tree(node)
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            (kind,) = (arg for arg in get_args(kind) if arg is not types.NoneType)
            origin = get_origin(kind)
        if origin is tuple:
            return self._items(get_args(kind)[0], node, path)
        if origin is dict:
            return self._mapping(get_args(kind)[1], node, path)
        if is_dataclass(kind):
            return self._table(cast("type[Any]", kind), node, path)
        return self._scalar(kind, node, path)

    def _table(self, kind: type[Any], node: Node, path: str) -> object:
        short = shorthand(kind)
        if short is not None and isinstance(node, Items):
            own = next(member for member in members(kind) if member.name == short)
            value = self._value(own.type, node, path, own.notes)
            return kind(**{short: value})
        if not isinstance(node, Table):
            wanted = "a mapping" if short is None else "a list or a mapping"
            return self._wrong(kind, node, path, wanted)
        known = {member.key: member for member in members(kind)}
        given = self._given(node, path, list(known))
        found: dict[str, object] = {}
        for key, member in known.items():
            value = self._member(member, given.get(key), path, node.mark)
            if value is not None:
                found[member.name] = value
        return kind(**found)

    def _given(self, node: Table, path: str, known: list[str]) -> dict[str, Node]:
        """The entries by key; unknown and repeated ones are reported."""
        given: dict[str, Node] = {}
        for name, value in node.entries:
            if name.text in given:
                self.findings.error(path, f"key `{name.text[:60]}` is there twice", name.mark)
            elif name.text not in known:
                self.findings.error(
                    _join(path, name.text),
                    f"unknown key `{name.text[:60]}`{_in(path)}; {_nearest(name.text[:60], known)}",
                    name.mark,
                )
            given[name.text] = value
        return given

    def _member(self, member: Member, node: Node | None, path: str, mark: Mark) -> object:
        """The decoded value; None: absent and has a default."""
        where = _join(path, member.key)
        if node is None or _is_null(node):
            if not member.required:
                return None
            self.findings.error(where, f"missing key `{member.key}`{_in(path)}", mark)
            return _stand_in(member.type)
        before = len(self.findings.found)
        value = self._value(member.type, node, where, member.notes)
        if len(self.findings.found) == before or not self.findings.has_error_at(where):
            for text in filter(None, (check.problem(value) for check in member.checks)):
                self.findings.error(where, f"`{where}`: {text}", node.mark)
        return value

    def _items(self, kind: Any, node: Node, path: str) -> object:
        if not isinstance(node, Items):
            return self._wrong(tuple, node, path, "a list")
        return tuple(
            self._value(kind, item, f"{path}[{i}]", ()) for i, item in enumerate(node.items)
        )

    def _mapping(self, kind: Any, node: Node, path: str) -> object:
        if not isinstance(node, Table):
            return self._wrong(dict, node, path, "a mapping")
        found: dict[str, object] = {}
        for name, value in node.entries:
            if name.text in found:
                self.findings.error(path, f"key `{name.text[:60]}` is there twice", name.mark)
            found[name.text] = self._value(kind, value, _join(path, name.text), ())
        return found

    def _scalar(self, kind: Any, node: Node, path: str) -> object:
        if not isinstance(node, Scalar):
            return self._wrong(kind, node, path, _NAMES.get(kind, "text"))
        value = node.value
        if kind in (bool, int):
            fits = type(value) is kind
            return value if fits else self._wrong(kind, node, path, _NAMES[kind])
        if value is None:
            return self._wrong(kind, node, path, "text")
        if not isinstance(value, str):  # nothing is lost: the text is what was written
            sort = "a number" if type(value) is not bool else "true or false"
            text = (
                f'`{path}` is text, and {node.text} without quotes is {sort}: write "{node.text}"'
            )
            self.findings.warning(path, text, node.mark)
        if kind is str:
            return node.text
        try:
            return kind(node.text)
        except ValueError:
            words = ", ".join(f"`{word}`" for word in kind if word)
            self.findings.error(
                path, f"`{path}`: `{node.text[:60]}` is not one of {words}", node.mark
            )
            return _stand_in(kind)

    def _wrong(self, kind: Any, node: Node, path: str, wanted: str) -> object:
        match node:
            case Table():
                there = "a mapping"
            case Items():
                there = "a list"
            case Scalar() if node.value is None:
                there = "nothing"
            case _:
                there = f"`{node.text[:60]}`"
        self.findings.error(path, f"`{path}`: expected {wanted}, found {there}", node.mark)
        return _stand_in(kind)


_NAMES = {bool: "true or false", int: "a whole number", str: "text"}


def _stand_in(kind: Any) -> object:
    """Something of a type that says nothing, in the place of what was wrong."""
    if get_origin(kind) in (Union, types.UnionType):
        return None
    if isinstance(kind, EnumType):
        return next(iter(cast("type[StrEnum]", kind)))
    if is_dataclass(kind):
        own = cast("type[Any]", kind)
        return own(**{m.name: _stand_in(m.type) for m in members(own) if m.required})
    return (get_origin(kind) or kind)()


def _tree(node: Node) -> Json:
    match node:
        case Scalar():
            return node.value
        case Items():
            return [_tree(item) for item in node.items]
        case _:
            return {name.text: _tree(value) for name, value in node.entries}


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.value is None


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _in(path: str) -> str:
    return f" in `{path}`" if path else ""


def _nearest(word: str, known: list[str]) -> str:
    """What to say of an unknown key: the valid one that is nearest, or all of them."""
    lower = {key.lower(): key for key in known}
    near = get_close_matches(word.lower().replace("_", ""), lower, n=1, cutoff=0.6)
    if near:
        return f"did you mean `{lower[near[0]]}`?"
    return f"valid keys: {', '.join(sorted(known))}"
