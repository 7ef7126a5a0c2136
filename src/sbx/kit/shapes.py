# SPDX-License-Identifier: Apache-2.0
"""How the types of a spec are described: notes on fields that decoder and JSON Schema both read.

A field is `name: Annotated[type, Doc(...), check...]`; its key is the name in camelCase, or `Key`.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Hashable, Sequence, Sized
from dataclasses import MISSING, Field, dataclass, fields
from typing import Annotated, Any, Protocol, cast, get_args, get_origin, get_type_hints

JsonSchema = dict[str, object]


class Check(Protocol):
    """A rule for one value: `problem` is the sentence if it is broken."""

    def problem(self, value: object) -> str | None: ...
    def schema(self) -> JsonSchema: ...


@dataclass(frozen=True, slots=True)
class Doc:
    """What a key is for, in a sentence."""

    text: str


@dataclass(frozen=True, slots=True)
class Key:
    """The key's spelling where it is not the field's name in camelCase."""

    name: str


@dataclass(frozen=True, slots=True)
class Free:
    """Any tree of values."""


@dataclass(frozen=True, slots=True)
class Replaces:
    """A list that a later kit replaces instead of adding to it."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """A list in which a later item with the same field takes the place of an earlier one."""

    by: str


@dataclass(frozen=True, slots=True)
class Pattern:
    """Text that must match as a whole."""

    regex: str
    wanted: str  # "lower-case letters, ..."

    def problem(self, value: object) -> str | None:
        fits = isinstance(value, str) and re.fullmatch(self.regex, value) is not None
        return None if fits else f"{_shown(value)} is not {self.wanted}"

    def schema(self) -> JsonSchema:
        return {"pattern": f"^(?:{self.regex})$"}


@dataclass(frozen=True, slots=True)
class OneOf:
    """Text out of a list."""

    words: tuple[str, ...]

    def problem(self, value: object) -> str | None:
        known = ", ".join(f"`{word}`" for word in self.words if word)
        return None if value in self.words else f"{_shown(value)} is not one of {known}"

    def schema(self) -> JsonSchema:
        return {"enum": list(self.words)}


@dataclass(frozen=True, slots=True)
class Between:
    """A whole number with bounds."""

    low: int
    high: int

    def problem(self, value: object) -> str | None:
        fits = isinstance(value, int) and self.low <= value <= self.high
        return None if fits else f"{_shown(value)} is not from {self.low} to {self.high}"

    def schema(self) -> JsonSchema:
        return {"minimum": self.low, "maximum": self.high}


@dataclass(frozen=True, slots=True)
class NonEmpty:
    """Text, list or mapping with something in it."""

    def problem(self, value: object) -> str | None:
        return None if isinstance(value, Sized) and len(value) > 0 else "it is empty"

    def schema(self) -> JsonSchema:
        return {}


@dataclass(frozen=True, slots=True)
class Unique:
    """A list without repetition."""

    def problem(self, value: object) -> str | None:
        counted = Counter(cast("Sequence[Hashable]", value))
        twice = next((item for item, count in counted.items() if count > 1), None)
        return None if twice is None else f"{_shown(twice)} is there twice"

    def schema(self) -> JsonSchema:
        return {"uniqueItems": True}


@dataclass(frozen=True, slots=True)
class Names:
    """A rule for the keys of a mapping."""

    rule: Check

    def problem(self, value: object) -> str | None:
        names = cast("dict[str, object]", value)
        return next((text for name in names if (text := self.rule.problem(name))), None)

    def schema(self) -> JsonSchema:
        return {"propertyNames": self.rule.schema()}


@dataclass(frozen=True, slots=True)
class Member:
    """One key of a table, as described by its field."""

    name: str  # of the field
    key: str
    type: Any  # without notes
    notes: tuple[object, ...]
    required: bool

    @property
    def doc(self) -> str:
        return next((note.text for note in self.notes if isinstance(note, Doc)), "")

    @property
    def checks(self) -> tuple[Check, ...]:
        kinds = Pattern | OneOf | Between | NonEmpty | Unique | Names
        return tuple(cast("Check", note) for note in self.notes if isinstance(note, kinds))

    def note(self, kind: type[Any]) -> Any:
        """The note of that kind, or None."""
        return next((note for note in self.notes if isinstance(note, kind)), None)


def members(kind: type[Any]) -> tuple[Member, ...]:
    """The keys of a table type, in the order of its fields."""
    return _members(cast("Hashable", kind))


@functools.cache
def _members(kind: Any) -> tuple[Member, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(_member(f, hints[f.name]) for f in fields(kind))


def shorthand(kind: type[object]) -> str | None:
    """The field that a bare list stands for, if the type has such a short form."""
    found: str | None = getattr(kind, "SHORTHAND", None)
    return found


def _member(field: Field[Any], hint: Any) -> Member:
    notes: tuple[object, ...] = ()
    if get_origin(hint) is Annotated:
        hint, *rest = get_args(hint)
        notes = tuple(rest)
    key = next((note.name for note in notes if isinstance(note, Key)), camel(field.name))
    required = field.default is MISSING and field.default_factory is MISSING
    return Member(field.name, key, hint, notes, required)


def camel(name: str) -> str:
    """`source_url` as `sourceUrl`."""
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _shown(value: object) -> str:
    text = str(value)
    return f"`{text[:60]}…`" if len(text) > 60 else f"`{text}`"
