# SPDX-License-Identifier: Apache-2.0
"""YAML text to a small tree that knows where everything stands; nothing of it is constructed.

Bounded: size, depth, number of nodes after aliases are followed. Tags are refused, and plain words
are read as YAML 1.2 has them (`on` and `no` are text), so that no two readers differ.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import cast

import yaml
from yaml.composer import Composer
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner

from sbx.kit.findings import Finding, KitError, Level, Mark

MAX_BYTES = 1 << 20
_MAX_NODES = 20_000
_MAX_DEPTH = 32
_TOO_DEEP = f"nested deeper than {_MAX_DEPTH} levels"
_PLAIN, _TEXT = "plain", "tag:yaml.org,2002:str"
_TABLE, _ITEMS = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"

_INT = re.compile(r"[-+]?[0-9]{1,18}|0o[0-7]{1,18}|0x[0-9a-fA-F]{1,15}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?|[-+]?\.inf|\.nan")

Value = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Scalar:
    """A single value; `text` is what was written."""

    mark: Mark
    text: str
    is_plain: bool  # not in quotes, so that it can be a number

    @property
    def value(self) -> Value:
        """What the text means."""
        return _plain_value(self.text) if self.is_plain else self.text


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping; a key can be there twice, which its reader reports."""

    mark: Mark
    entries: tuple[tuple[Scalar, Node], ...]

    def get(self, key: str) -> Node | None:
        """The value of a key, or None."""
        return next((node for name, node in self.entries if name.text == key), None)

    def with_entry(self, key: str, node: Node) -> Table:
        """A copy in which `key` has another value."""
        return replace(
            self, entries=tuple((k, node if k.text == key else v) for k, v in self.entries)
        )


Node = Scalar | Items | Table


class _Problem(Exception):
    """The document breaks a bound or uses what is not accepted."""

    def __init__(self, text: str, mark: Mark) -> None:
        super().__init__(text)
        self.text = text
        self.mark = mark


class _Loader(Reader, Scanner, Parser, Composer, BaseResolver):
    """Text to yaml's own nodes, with a bound on depth; no constructor."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        BaseResolver.__init__(self)
        self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Problem(_TOO_DEEP, Mark(self.line + 1, self.column + 1))
        found = super().compose_node(parent, index)
        self._depth -= 1
        return found

    def resolve(self, kind: type[yaml.Node], value: str, implicit: object) -> str:
        """Tell plain words from quoted ones; what they mean is decided later."""
        if kind is yaml.ScalarNode:
            plain, _quoted = cast("tuple[bool, bool]", implicit)
            return _PLAIN if plain else _TEXT
        return _TABLE if kind is yaml.MappingNode else _ITEMS


def parse(data: bytes, *, what: str) -> Table:
    """The tree of a document, whose top must be a mapping; `what` names it in errors.

    Raises:
        KitError: it is not YAML, too large, or uses what is not accepted.
    """
    try:
        if len(data) > MAX_BYTES:
            raise _Problem(f"larger than {MAX_BYTES} bytes", Mark())
        loader = _Loader(data.decode("utf-8-sig"))
        root = loader.get_single_node()
        tree = _Builder().build(root, 0) if root is not None else None
        if not isinstance(tree, Table):
            raise _Problem("not a mapping of keys to values", Mark(1, 1))
    except _Problem as error:
        raise _invalid(what, error.text, error.mark) from error
    except UnicodeDecodeError as error:
        raise _invalid(what, "not UTF-8 text", Mark()) from error
    except yaml.MarkedYAMLError as error:
        where = error.problem_mark or error.context_mark
        mark = Mark(where.line + 1, where.column + 1) if where is not None else Mark()
        raise _invalid(what, f"not YAML: {error.problem or error.context}", mark) from error
    except yaml.YAMLError as error:  # a character that YAML does not have
        raise _invalid(what, f"not YAML: {str(error).splitlines()[0]}", Mark()) from error
    return tree


class _Builder:
    """yaml's nodes to ours, counted: an alias costs as much as what it stands for."""

    def __init__(self) -> None:
        self._count = 0

    def build(self, node: yaml.Node, depth: int) -> Node:
        mark = _here(node)
        self._count += 1
        if self._count > _MAX_NODES:
            raise _Problem(f"more than {_MAX_NODES} values, aliases included", mark)
        if depth > _MAX_DEPTH:  # an alias to what it stands in never ends
            raise _Problem(_TOO_DEEP, mark)
        if node.tag not in (_PLAIN, _TEXT, _TABLE, _ITEMS):
            raise _Problem(f"tag `{node.tag}` is not accepted", mark)
        match node:
            case yaml.ScalarNode():
                return Scalar(mark, node.value, node.tag == _PLAIN)
            case yaml.SequenceNode():
                return Items(mark, tuple(self.build(item, depth + 1) for item in node.value))
            case yaml.MappingNode():
                return Table(mark, tuple(self._entry(k, v, depth) for k, v in node.value))
            case _:
                raise _Problem("neither value, list nor mapping", mark)

    def _entry(self, key: yaml.Node, value: yaml.Node, depth: int) -> tuple[Scalar, Node]:
        name = self.build(key, depth + 1)
        if not isinstance(name, Scalar):
            raise _Problem("a key is text, not a list or a mapping", _here(key))
        return name, self.build(value, depth + 1)


def _here(thing: yaml.Node | yaml.Event) -> Mark:
    mark = thing.start_mark
    return Mark() if mark is None else Mark(mark.line + 1, mark.column + 1)


def _invalid(what: str, text: str, mark: Mark) -> KitError:
    found = Finding(level=Level.ERROR, message=text, path="", mark=mark)
    return KitError(f"invalid spec.yaml of kit {what}: 1 error", findings=(found,))


def _plain_value(text: str) -> Value:
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    if text in ("true", "True", "TRUE", "false", "False", "FALSE"):
        return text.lower() == "true"
    if _INT.fullmatch(text):
        prefix = text[:2]
        return int(text[2:], 8) if prefix == "0o" else int(text, 16 if prefix == "0x" else 10)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    return text
