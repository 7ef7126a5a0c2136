# SPDX-License-Identifier: Apache-2.0
"""Typed dataclasses to JSON and back: unknown keys, missing keys and wrong types are errors.

A parsing edge: the only place where untyped JSON is looked at. pydantic would do, at ten times the
import time of the whole command line (docs/decisions/0005-own-json-codec.md).
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")
Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]


class CodecError(ValueError):
    """The JSON does not fit the type; the text says where."""


def to_json(value: object) -> Json:
    """Turn a dataclass, or a value that may stand in one, into plain JSON values."""
    match value:
        case None | bool() | int() | float():
            return value
        case StrEnum():
            return value.value
        case str():
            return value
        case Path():
            return str(value)
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case tuple() | list():
            return [to_json(item) for item in cast("tuple[object, ...]", value)]
        case Mapping():
            items = cast("Mapping[str, object]", value)
            return {key: to_json(item) for key, item in items.items()}
        case _ if dataclasses.is_dataclass(value):
            return {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        case _:
            raise TypeError(f"no JSON form for {type(value).__name__}")


def from_json(kind: type[T], value: object, *, where: str = "$") -> T:
    """Build a `kind` from plain JSON values.

    Raises:
        CodecError: something is missing, unknown or of another type.
    """
    return cast("T", _decode(kind, value, where))


def dumps(value: object) -> bytes:
    """Readable, stable JSON text with a newline at its end."""
    return (json.dumps(to_json(value), indent=2, ensure_ascii=False) + "\n").encode()


def loads(kind: type[T], data: bytes) -> T:
    """Parse JSON text into a `kind`.

    Raises:
        CodecError: it is not JSON, or does not fit.
    """
    try:
        value = json.loads(data)
    except ValueError as error:
        raise CodecError(f"not JSON: {error}") from error
    return from_json(kind, value)


def _decode(kind: Any, value: object, where: str) -> object:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(kind, value, where)
    if origin is tuple:
        items = cast("list[object]", _expect(list, value, where))
        return tuple(_decode(get_args(kind)[0], v, f"{where}[{i}]") for i, v in enumerate(items))
    if origin is dict:
        pairs = cast("dict[str, object]", _expect(dict, value, where))
        return {k: _decode(get_args(kind)[1], v, f"{where}.{k}") for k, v in pairs.items()}
    if dataclasses.is_dataclass(kind):
        return _record(cast("type[object]", kind), value, where)
    return _scalar(kind, value, where)


def _optional(kind: Any, value: object, where: str) -> object:
    if value is None:
        return None
    (inner,) = (arm for arm in get_args(kind) if arm is not type(None))
    return _decode(inner, value, where)


def _scalar(kind: Any, value: object, where: str) -> object:
    try:
        if kind is datetime:
            return datetime.fromisoformat(_expect(str, value, where))
        if kind is Path:
            return Path(_expect(str, value, where))
        if isinstance(kind, type) and issubclass(kind, StrEnum):
            return kind(_expect(str, value, where))
    except CodecError:
        raise
    except ValueError as error:
        raise CodecError(f"{where}: {error}") from error
    if kind is float and type(value) is int:
        return float(value)
    return _expect(cast("type[object]", kind), value, where)


def _expect(kind: type[T], value: object, where: str) -> T:
    if type(value) is not kind:  # exact: JSON's true must not pass for an int
        raise CodecError(f"{where}: expected {kind.__name__}, found {type(value).__name__}")
    return value


@functools.cache  # costs more than all the rest, and there may be 100 000 records of one kind
def _hints(kind: type[object]) -> dict[str, object]:
    return get_type_hints(kind)


def _record(kind: type[object], value: object, where: str) -> object:
    data = cast("dict[str, object]", _expect(dict, value, where))
    hints = _hints(kind)  # type: ignore[arg-type]  # mypy doubts that a class has a hash
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # checked above
    if unknown := sorted(data.keys() - fields.keys()):
        raise CodecError(f"{where}: unknown key `{unknown[0]}`")
    found: dict[str, object] = {}
    for name, spec in fields.items():
        if name in data:
            found[name] = _decode(hints[name], data[name], f"{where}.{name}")
        elif spec.default is dataclasses.MISSING and spec.default_factory is dataclasses.MISSING:
            raise CodecError(f"{where}: missing key `{name}`")
    return kind(**found)
