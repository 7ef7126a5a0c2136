# SPDX-License-Identifier: Apache-2.0
"""How a kit adds to another: lists grow, mappings and single values are won by the later kit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass, replace
from typing import Any, TypeVar, cast

from sbx.kit.model import Spec
from sbx.kit.shapes import Keyed, Member, Replaces, members

T = TypeVar("T")


def extend(parent: Spec, child: Spec) -> Spec:
    """The child on top of the parent that it extends; the child's own name and kind stay."""
    merged = _table(parent, child)
    # The parent's arguments are settled already, and what it extends is in it.
    return replace(merged, args=child.args, extends=child.extends)


def locked_paths(locked: Sequence[str], paths: frozenset[str]) -> tuple[str, ...]:
    """The locked keys that a kit with these paths sets."""
    return tuple(
        lock
        for lock in locked
        if any(path == lock or path.startswith((f"{lock}.", f"{lock}[")) for path in paths)
    )


def _table(earlier: T, later: T) -> T:
    kind = type(later)
    found = {
        member.name: _value(member, getattr(earlier, member.name), getattr(later, member.name))
        for member in members(kind)
    }
    return kind(**found)


def _value(member: Member, earlier: Any, later: Any) -> Any:
    """The merged value of one key."""
    if later is None or later == ():
        return earlier
    if earlier is None or earlier == ():
        return later
    if isinstance(later, tuple):
        if member.note(Replaces):
            return cast("tuple[object, ...]", later)
        items = cast("tuple[object, ...]", (*earlier, *later))
        keyed: Keyed | None = member.note(Keyed)
        if keyed is None:
            # Each item once, at its first place; steps that are equal are run once.
            return tuple(dict.fromkeys(items))
        return tuple({getattr(item, keyed.by): item for item in items}.values())
    if isinstance(later, Mapping):
        first, second = cast("tuple[Mapping[str, object], ...]", (earlier, later))
        return {**first, **second}
    return _table(earlier, later) if is_dataclass(later) else later
