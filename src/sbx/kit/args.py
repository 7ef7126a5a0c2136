# SPDX-License-Identifier: Apache-2.0
"""Arguments of kits: `${{ kit.args.NAME }}` in a spec and its files, replaced before decoding.

Values are put into single values of the tree, never into its text, so none of them can add a key.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

from sbx.errors import UserError
from sbx.kit.decode import Decoder
from sbx.kit.findings import NOWHERE, Mark
from sbx.kit.model import Arg
from sbx.kit.nodes import Items, Node, Scalar, Table

_REFERENCE = re.compile(r"(?P<escape>\$?)\$\{\{\s*kit\.(?P<name>[^}\s]*)\s*\}\}")
_GIVEN = re.compile(r"(?:(?P<kit>[a-z0-9-]+)\.)?(?P<name>[A-Za-z_][A-Za-z0-9_-]*)")
_MAX_VALUE = 4096


@dataclass(frozen=True, slots=True)
class GivenArgs:
    """What was given: values for every kit that declares the name, and for one kit alone."""

    shared: Mapping[str, str]
    own: Mapping[tuple[str, str], str]  # kit and name

    def of(self, kit: str, name: str) -> str | None:
        """The value that counts for one argument of one kit."""
        return self.own.get((kit, name), self.shared.get(name))

    def check_used(self, declared: Iterable[tuple[str, str]]) -> None:
        """Raise UserError for a value that no kit of a composition (kit and name) declares."""
        known = set(declared)
        names = {name for _kit, name in known}
        unused = [name for name in self.shared if name not in names]
        unused += [f"{kit}.{name}" for kit, name in self.own if (kit, name) not in known]
        if unused:
            text = ", ".join(sorted(names)) or "none"
            raise UserError(f"no kit has an argument `{unused[0]}` (arguments: {text})")


NO_ARGS = GivenArgs({}, {})


def parse_args(words: Iterable[str], lines: Iterable[str] = ()) -> GivenArgs:
    """From `name=value` and `kit.name=value`; `words` win over the lines of a file.

    Raises:
        UserError: one is malformed.
    """
    shared: dict[str, str] = {}
    own: dict[tuple[str, str], str] = {}
    kept = (line for line in lines if line.strip() and not line.lstrip().startswith("#"))
    for word in (*kept, *words):
        left, equals, value = word.partition("=")
        found = _GIVEN.fullmatch(left.strip())
        if not equals or found is None or "\0" in value or len(value) > _MAX_VALUE:
            raise UserError(
                f'not an argument of a kit: "{word[:80]}"', hint="Use --kit-arg NAME=VALUE"
            )
        if found["kit"] is None:
            shared[found["name"]] = value
        else:
            own[found["kit"], found["name"]] = value
    return GivenArgs(shared, own)


def settle(
    declared: Mapping[str, Arg], kit: str, given: GivenArgs, decoder: Decoder
) -> dict[str, str]:
    """The value of every declared argument; what is wrong goes to the findings."""
    values: dict[str, str] = {}
    for name, arg in declared.items():
        path = f"args.{name}"
        mark = decoder.mark(path)
        for text in _declaration_problems(arg):
            decoder.findings.error(path, f"`{path}`: {text}", mark)
        value = given.of(kit, name)
        if value is None:
            value = arg.default
        if value is None:
            if arg.required:
                text = f"argument `{name}` has no value: give it with --kit-arg {name}=VALUE"
                decoder.findings.error(path, text, mark)
            value = ""
        elif problem := value_problem(arg, value):
            decoder.findings.error(path, f"argument `{name}`: {problem}", mark)
        values[name] = value
    return values


def _declaration_problems(arg: Arg) -> list[str]:
    found: list[str] = []
    if (arg.default is None) == (not arg.required):
        found.append("exactly one of `default` and `required: true` is given")
    if arg.enum and arg.pattern is not None:
        found.append("either `enum` or `pattern`")
    if arg.pattern is not None and _whole_match(arg.pattern, "") is None:
        found.append(f"`pattern` is not a regular expression of RE2: `{arg.pattern[:60]}`")
    return found


def value_problem(arg: Arg, value: str) -> str | None:
    """Why an argument does not take a value, or None."""
    if arg.enum and value not in arg.enum:
        return f"`{value[:60]}` is not one of {', '.join(f'`{word}`' for word in arg.enum)}"
    if arg.pattern is not None and _whole_match(arg.pattern, value) is False:
        return f"`{value[:60]}` does not match `{arg.pattern[:60]}`"
    return None


def _whole_match(pattern: str, value: str) -> bool | None:
    """Whether the value matches as a whole; None: no such pattern. RE2 needs linear time only."""
    re2: Any = import_module("re2")  # costs start-up, and few kits have a pattern

    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20
    try:
        return bool(re2.fullmatch(pattern, value, options=options))
    except re2.error:
        return None


@dataclass(frozen=True, slots=True)
class Substitution:
    """Puts the values of one kit's arguments in their places."""

    values: Mapping[str, str]
    decoder: Decoder

    def tree(self, node: Node, path: str = "") -> Node:
        """The node with every reference replaced; a plain word is read anew afterwards."""
        match node:
            case Scalar():
                text = self.text(node.text, path, node.mark)
                return node if text == node.text else replace(node, text=text)
            case Items():
                items = (self.tree(item, f"{path}[{i}]") for i, item in enumerate(node.items))
                return replace(node, items=tuple(items))
            case Table():
                return replace(
                    node,
                    entries=tuple(
                        (
                            key,
                            value
                            if not path and key.text == "args"
                            else self._below(path, key, value),
                        )
                        for key, value in node.entries
                    ),
                )

    def _below(self, path: str, key: Scalar, value: Node) -> Node:
        return self.tree(value, f"{path}.{key.text}" if path else key.text)

    def text(self, text: str, path: str, mark: Mark = NOWHERE) -> str:
        """Text with every reference replaced; `$${{` stays, without its first `$`."""

        def one(found: re.Match[str]) -> str:
            if found["escape"]:
                return found[0][1:]
            name = found["name"].removeprefix("args.")
            if name == found["name"] or name not in self.values:
                known = ", ".join(self.values) or "none"
                message = f"`{found[0]}` is not declared in `args` (arguments: {known})"
                self.decoder.findings.error(path, message, mark)
                return ""
            return self.values[name]

        return _REFERENCE.sub(one, text)
