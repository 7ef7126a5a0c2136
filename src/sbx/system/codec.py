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
from collections.abc import Callable, Hashable, Mapping
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
    try:
        return cast("T", _decoder(cast("Hashable", kind))(value))
    except _MismatchError as error:
        path = "".join(reversed(error.where))
        raise CodecError(f"{where}{path}: {error.reason}") from error


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


_Decoder = Callable[[object], object]


class _MismatchError(Exception):
    """A value does not fit; whoever holds it adds where it is, from the inside out."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.where: list[str] = []


@functools.cache  # made once for each type: there may be 100 000 records of one kind
def _decoder(kind: Any) -> _Decoder:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        (inner,) = (arm for arm in get_args(kind) if arm is not type(None))
        return functools.partial(_optional, _decoder(inner))
    if origin is tuple:
        return functools.partial(_items, _decoder(get_args(kind)[0]))
    if origin is dict:
        return functools.partial(_pairs, _decoder(get_args(kind)[1]))
    if dataclasses.is_dataclass(kind):
        return _record(cast("type[object]", kind))
    if kind is datetime:
        return functools.partial(_parsed, datetime.fromisoformat)
    if kind is Path or (isinstance(kind, type) and issubclass(kind, StrEnum)):
        return functools.partial(_parsed, cast("Callable[[str], object]", kind))
    if kind is float:
        return _number
    return functools.partial(_expect, cast("type[object]", kind))


def _optional(inner: _Decoder, value: object) -> object:
    return None if value is None else inner(value)


def _items(inner: _Decoder, value: object) -> object:
    found: list[object] = []
    for item in cast("list[object]", _expect(list, value)):
        try:
            found.append(inner(item))
        except _MismatchError as error:
            error.where.append(f"[{len(found)}]")
            raise
    return tuple(found)


def _pairs(inner: _Decoder, value: object) -> object:
    found: dict[str, object] = {}
    for key, item in cast("dict[str, object]", _expect(dict, value)).items():
        try:
            found[key] = inner(item)
        except _MismatchError as error:
            error.where.append(f".{key}")
            raise
    return found


def _parsed(parse: Callable[[str], object], value: object) -> object:
    text = _expect(str, value)
    try:
        return parse(text)
    except ValueError as error:
        raise _MismatchError(str(error)) from error


def _number(value: object) -> object:
    return float(value) if type(value) is int else _expect(float, value)


def _expect(kind: type[T], value: object) -> T:
    if type(value) is not kind:  # exact: JSON's true must not pass for an int
        raise _MismatchError(f"expected {kind.__name__}, found {type(value).__name__}")
    return value


def _record(kind: type[object]) -> _Decoder:
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]  # checked by the caller
    missing = dataclasses.MISSING
    required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
    decoders: dict[str, _Decoder] = {}

    def decode(value: object) -> object:
        if not decoders:  # at first use, since a type may hold itself
            hints = get_type_hints(kind)
            decoders.update({field.name: _decoder(hints[field.name]) for field in fields})
        data = cast("dict[str, object]", _expect(dict, value))
        found: dict[str, object] = {}
        for name, item in data.items():
            inner = decoders.get(name)
            if inner is None:
                raise _MismatchError(f"unknown key `{name}`")
            try:
                found[name] = inner(item)
            except _MismatchError as error:
                error.where.append(f".{name}")
                raise
        for name in required:
            if name not in found:
                raise _MismatchError(f"missing key `{name}`")
        return kind(**found)

    return decode
